import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { makeTarballs } from "../../scripts/lib/package/tarballs.mjs";
import { NATIVE, root, TARBALLS } from "./installed.js";

let dir: string;
const contents = { main: "", native: "" };
const NAMES = ["main", "native"] as const;
const sha256 = (file: string) => createHash("sha256").update(readFileSync(file)).digest("hex");
const json = (file: string) => JSON.parse(readFileSync(file, "utf8"));

beforeAll(() => {
  dir = mkdtempSync(path.join(tmpdir(), "ot"));
  for (const name of NAMES) {
    execFileSync("tar", ["xzf", TARBALLS[name], "-C", dir, `--one-top-level=${name}`]);
    contents[name] = path.join(dir, name, "package");
  }
});
afterAll(() => rmSync(dir, { recursive: true, force: true }));

describe("what the tarballs hold", () => {
  it("is of one version, says its licence, and runs nothing when it is installed", () => {
    const project = json(path.join(root, "package.json"));
    for (const name of NAMES) {
      const { version, license, scripts } = json(path.join(contents[name], "package.json"));
      expect({ version, license, scripts }).toEqual({
        version: project.version,
        license: "Apache-2.0",
        scripts: undefined,
      });
      for (const file of ["LICENSE", "NOTICE"])
        expect(statSync(path.join(contents[name], file)).size).toBeGreaterThan(1000);
    }
    const main = json(path.join(contents.main, "package.json"));
    expect(main.optionalDependencies).toEqual({ [NATIVE]: project.version });
    for (const [name, version] of Object.entries(main.dependencies)) {
      expect(version, name).toMatch(/^\d+\.\d+\.\d+$/);
      expect(version, name).toBe(project.dependencies[name]);
    }
  });

  it("has the library that is in build/native and in the wheels, and says for which machines", () => {
    const files = readdirSync(contents.native).sort();
    expect(files).toEqual(["LICENSE", "NOTICE", "libopswap.so", "opswap.node", "package.json"]);
    for (const name of ["libopswap.so", "opswap.node"])
      expect(sha256(path.join(contents.native, name)), name).toBe(
        sha256(path.join(root, "build/native", name)),
      );
    const { os, cpu, libc } = json(path.join(contents.native, "package.json"));
    expect({ os, cpu, libc }).toEqual({ os: ["linux"], cpu: ["x64"], libc: ["glibc"] });
  });

  it("has no native code, maps or folders of this machine in the package for all platforms", () => {
    const files = readdirSync(contents.main, { recursive: true, encoding: "utf8" });
    expect(files).toContain("dist/opswap.cjs");
    expect(files.filter((file) => /\.(node|so|map)$|demo|compiled|\.built-from/.test(file))).toEqual([]);
    const texts = files.filter((file) => /\.(c?js|ts|json)$/.test(file));
    const telling = texts.filter((file) =>
      readFileSync(path.join(contents.main, file), "utf8").includes(root),
    );
    expect(telling).toEqual([]);
    expect(readFileSync(path.join(contents.native, "libopswap.so")).includes(root)).toBe(false);
  });

  it("names each package whose code is inside", () => {
    const notice = readFileSync(path.join(contents.main, "NOTICE"), "utf8");
    const maps = readdirSync(path.join(root, "dist"), { recursive: true, encoding: "utf8" });
    const sources = maps
      .filter((file) => file.endsWith(".map") && !file.startsWith("compiled"))
      .flatMap((file): string[] => json(path.join(root, "dist", file)).sources);
    const inside = sources.flatMap(
      (source) => /node_modules\/((?:@[^/]+\/)?[^/]+)\//.exec(source)?.[1] ?? [],
    );
    expect(inside).not.toEqual([]);
    for (const name of new Set(inside)) expect(notice).toMatch(new RegExp(`\\b${name}\\b`));
  });

  it("is the same bytes when it is made again", async () => {
    const again = await makeTarballs({
      native: path.join(root, "build/native"),
      out: path.join(dir, "again"),
    });
    expect(again.map(({ file }) => sha256(file))).toEqual(NAMES.map((name) => sha256(TARBALLS[name])));
  });
});
