import { execFileSync, spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { formatNpy, parseNpy } from "../../ts-client/src/tensorfile/npy.js";
import { cli, opswap, scratch } from "./harness.js";

const { dir, remove } = scratch();
afterAll(remove);
const file = (name: string) => path.join(dir, name);
const ROWS = 64;
const COLUMNS = 4096;

function writeOnes(name: string, shape: number[]): void {
  const count = shape.reduce((product, extent) => product * extent, 1);
  const bytes = new Uint8Array(new Float32Array(count).fill(1).buffer);
  writeFileSync(file(name), formatNpy(name, { dtype: "float32", shape, bytes }));
}
writeOnes("x.npy", [ROWS, COLUMNS]);
writeOnes("w.npy", [COLUMNS]);
const CALL = ["call", "rms_norm", `input=${file("x.npy")}`, `weight=${file("w.npy")}`];
const LINE = /^opswap: [^\n]+ \[(OPSWAP_E_[A-Z_]+)\]\n {2}([^\n]+)\n$/;

/** The code and the remedy of a refusal that is one line and its remedy. */
function refusal(err: string): [code: string, remedy: string] {
  const [, code = err, remedy = ""] = LINE.exec(err) ?? [];
  return [code, remedy];
}

const USER = ["--user", "--map-root-user", "--mount"];
const mounts = spawnSync("unshare", [...USER, "mount", "-t", "tmpfs", "none", "/mnt"]).status === 0;
const NO_MOUNTS =
  "this kernel lets no user mount a file system; shm.test.ts puts the error numbers in instead";

/** Runs a shell script in a mount namespace of its own; `$OPSWAP` is the command line. */
function shell(script: string): { out: string; err: string; code: number | null } {
  const env = {
    ...process.env,
    OPSWAP: `${process.execPath} ${cli}`,
    OPSWAP_RUNTIME_DIR: file("run"),
    D: dir,
  };
  const { stdout, stderr, status } = spawnSync("unshare", [...USER, "sh", "-c", script], {
    env,
    encoding: "utf8",
  });
  return { out: stdout, err: stderr, code: status };
}

describe("--save", () => {
  mkdirSync(file("folder.npy"));
  it.each([
    ["a folder that is missing", "none/y.npy", /make the folder/],
    ["a folder in place of a file", "folder.npy", /not a folder/],
    ["a file in place of a folder", "x.npy/y.npy", /parents are folders/],
    ["another ending", "y.txt", /FILE\.npy or FILE\.safetensors/],
  ])("%s is refused before anything runs", async (_what, name, remedy) => {
    const ran = await opswap([...CALL, "--local", "--save", file(name)]);
    expect(ran).toMatchObject({ code: 2, out: "" });
    const [code, told] = refusal(ran.err);
    expect(code).toBe("OPSWAP_E_TENSOR_FILE");
    expect(told).toMatch(remedy);
    expect(told).not.toMatch(/can read$/); // advice about files that are read
  });

  it("two tensors in a .npy: following the remedy helps", async () => {
    const words = ["call", "fused_add_rms_norm", `input=${file("x.npy")}`, `residual=${file("x.npy")}`];
    const call = [...words, `weight=${file("w.npy")}`, "--local", "--save"];
    const ran = await opswap([...call, file("two.npy")]);
    expect(ran).toMatchObject({ code: 2, out: "" });
    expect(refusal(ran.err)).toEqual(["OPSWAP_E_TENSOR_FILE", "name FILE.safetensors"]);
    expect(await opswap([...call, file("two.safetensors")])).toMatchObject({ code: 0, err: "" });
  });

  it("a limit on the size of files leaves the old file whole, and nothing else", async () => {
    writeOnes("old.npy", [3]);
    const before = readFileSync(file("old.npy"));
    const limited = shell(`ulimit -f 64; $OPSWAP ${CALL.join(" ")} --local --save $D/old.npy`);
    expect(limited).toMatchObject({ code: 1, out: "" });
    expect(refusal(limited.err)).toEqual(["OPSWAP_E_DISK_FULL", expect.stringMatching(/ulimit -f/)]);
    expect(readFileSync(file("old.npy")).equals(before)).toBe(true);
    expect(readdirSync(dir).filter((name) => name.endsWith(".tmp"))).toEqual([]);
  });

  it("a full disk leaves nothing half written", ({ skip }) => {
    skip(!mounts, NO_MOUNTS);
    mkdirSync(file("small"));
    const script = `mount -t tmpfs -o size=512k none $D/small
      $OPSWAP ${CALL.join(" ")} --local --save $D/small/y.npy; echo "code $?"; ls $D/small`;
    const ran = shell(script);
    expect(ran.out).toBe("code 1\n");
    expect(refusal(ran.err)).toEqual(["OPSWAP_E_DISK_FULL", expect.stringMatching(/make room/)]);
  });
});

describe("a file that is read", () => {
  it.each([
    ["missing", "none.npy", /name one that exists/],
    ["a folder", "folder.npy", /name a file/],
    ["below a file", "x.npy/x.npy", /parents are folders/],
  ])("%s", async (_what, name, remedy) => {
    const ran = await opswap(["call", "rms_norm", `input=${file(name)}`, "--local"]);
    expect(ran).toMatchObject({ code: 2, out: "" });
    const [code, told] = refusal(ran.err);
    expect(code).toBe("OPSWAP_E_TENSOR_FILE");
    expect(told).toMatch(remedy);
  });
});

/** A sidecar in a namespace whose /dev/shm is as `mount` makes it, and a call to it; then what is left there. */
function withShm(mount: string, call = CALL.join(" ")): { out: string; err: string; code: number | null } {
  return shell(`mkdir -p -m 700 $OPSWAP_RUNTIME_DIR; ${mount}
    : > $D/said # here and not by the shell behind &, which may come after the first look into it
    $OPSWAP sidecar 2>> $D/said & S=$!
    until grep -q answers $D/said; do kill -0 $S || exit 9; sleep 0.1; done
    $OPSWAP ${call}; echo "code $?"; ls /dev/shm; kill $S; wait $S`);
}

describe("shared memory", () => {
  it("that is smaller than a tensor: size, room and remedy, and nothing is left", ({ skip }) => {
    skip(!mounts, NO_MOUNTS);
    const small = withShm("mount -t tmpfs -o size=512k none /dev/shm");
    expect(small.out).toBe("code 1\n");
    const [code, remedy] = refusal(small.err);
    expect(code).toBe("OPSWAP_E_MEMORY");
    expect(small.err).toMatch(/segment of 1048576 bytes.*\/dev\/shm has \d+ of 524288 bytes free/);
    expect(remedy).toMatch(/--shm-size.*--local/);
  });

  it("that is made larger, as the remedy says, is enough", ({ skip }) => {
    skip(!mounts, NO_MOUNTS);
    const mount = "mount -t tmpfs -o size=512k none /dev/shm; mount -o remount,size=8m /dev/shm";
    const ran = withShm(mount, `${CALL.join(" ")} --save $D/large.npy`);
    expect(ran).toMatchObject({ err: "", out: expect.stringMatching(/saved .*large\.npy\ncode 0\n$/) });
    expect(parseNpy("y", readFileSync(file("large.npy"))).shape).toEqual([ROWS, COLUMNS]);
  });

  it("that is read-only", ({ skip }) => {
    skip(!mounts, NO_MOUNTS);
    const ran = withShm("mount -t tmpfs -o ro none /dev/shm");
    expect(ran.out).toBe("code 1\n");
    expect(refusal(ran.err)).toEqual(["OPSWAP_E_SEGMENT", expect.stringMatching(/--local/)]);
    expect(ran.err).toMatch(/\/dev\/shm cannot be written/);
  });

  it("and --local needs none of it", async () => {
    expect(await opswap([...CALL, "--local", "--save", file("local.npy")])).toMatchObject({
      code: 0,
      err: "",
    });
    expect(existsSync(file("local.npy"))).toBe(true);
  });
});

it("OPSWAP_DEBUG=1 shows where an error was thrown, and nothing else does", async () => {
  const wrong = ["call", "rms_norm", `input=${file("none.npy")}`, "--local"];
  expect((await opswap(wrong)).err).not.toMatch(/\n\s+at /);
  expect((await opswap(wrong, { OPSWAP_DEBUG: "1" })).err).toMatch(/\n\s+at /);
  expect(() => execFileSync(process.execPath, [cli, ...wrong], { stdio: "ignore" })).toThrow();
});
