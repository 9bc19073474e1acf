// A built checkout that was copied elsewhere: nothing is built again, and a build that fails leaves what is there.
import { execFileSync, spawnSync } from "node:child_process";
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { dropStaleConfiguration } from "./cmake.mjs";
import { root } from "./paths.mjs";

const BUILT = ["build/native", "build/python", "build/.python-built-from", "build/.nvcc-compiles", "dist"];
const place = mkdtempSync(join(tmpdir(), "ow-moved-"));
const library = join(place, "build/native/libopswap.so");

beforeAll(() => {
  const list = execFileSync("git", ["ls-files", "-co", "--exclude-standard", "-z"], {
    cwd: root,
    encoding: "utf8",
  });
  for (const name of list.split("\0").filter((name) => name && existsSync(join(root, name)))) {
    mkdirSync(dirname(join(place, name)), { recursive: true });
    cpSync(join(root, name), join(place, name));
  }
  for (const name of BUILT) {
    const from = join(root, name);
    if (existsSync(from)) cpSync(from, join(place, name), { recursive: true, preserveTimestamps: true });
  }
  symlinkSync(join(root, "node_modules"), join(place, "node_modules"));
});
afterAll(() => rmSync(place, { recursive: true, force: true }));

function build() {
  const { status, stderr } = spawnSync(process.execPath, ["scripts/build.mjs"], {
    cwd: place,
    encoding: "utf8",
  });
  return { status, stderr };
}

describe("a built checkout in another place", () => {
  it("has nothing to build", () => {
    const before = statSync(library).mtimeMs;
    const { status, stderr } = build();
    expect(stderr).not.toMatch(/native library|Python package|TypeScript/);
    expect(status, stderr).toBe(0);
    expect(statSync(library).mtimeMs).toBe(before);
  });

  it("keeps its library when a build fails", () => {
    const before = readFileSync(library);
    writeFileSync(join(place, "native/CMakeLists.txt"), 'message(FATAL_ERROR "planted")\n');
    const { status, stderr } = build();
    expect(status).toBe(1);
    expect(stderr).toContain("planted");
    expect(readFileSync(library).equals(before)).toBe(true);
  });

  it("does not take up a CMake folder that was configured for the old place", () => {
    const folder = join(place, "build/some-tests");
    const kept = join(folder, "build.ninja");
    dropStaleConfiguration(folder, ["A=1"]);
    writeFileSync(kept, "");
    dropStaleConfiguration(folder, ["A=1"]);
    expect(existsSync(kept)).toBe(true);
    const again = `import { dropStaleConfiguration as drop } from "./scripts/lib/cmake.mjs"; drop(${JSON.stringify(folder)}, ["A=1"]);`;
    execFileSync(process.execPath, ["--input-type=module", "-e", again], { cwd: place });
    expect(existsSync(kept)).toBe(false);
    expect(existsSync(join(folder, ".configured-with"))).toBe(true);
  });
});
