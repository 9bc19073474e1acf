import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { existsSync, readdirSync } from "node:fs";
import { constants } from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";
import { addonFile } from "../addon-file.js";
import { loadNative } from "../native.js";
import { runtimeFolder, startSidecar } from "../testing/servers.js";
import { SegmentPool, sizeClass } from "./shm.js";

const HERE = path.dirname(fileURLToPath(import.meta.url));
const at = (name: string) => path.join("/dev/shm", name);

describe("pool", () => {
  test("a released segment is used again, another size is not", () => {
    const pool = new SegmentPool(loadNative());
    const first = pool.take(100_000);
    new Uint8Array(first.buffer).fill(7);
    pool.release(first);
    expect(pool.take(10)).not.toBe(first);
    const again = pool.take(99_000);
    expect(again).toBe(first);
    expect(new Uint8Array(again.buffer)[0]).toBe(7);
    pool.close();
  });

  test("names are removed on close, memory that is still looked at stays readable", () => {
    const pool = new SegmentPool(loadNative());
    const { name, buffer } = pool.take(4096);
    expect(existsSync(at(name))).toBe(true);
    expect(name).toMatch(/^opswap-\d+-\d+-\d+$/);
    pool.close();
    pool.close();
    expect(existsSync(at(name))).toBe(false);
    new Uint8Array(buffer).fill(3);
    expect(new Uint8Array(buffer)[buffer.byteLength - 1]).toBe(3);
    expect(() => pool.take(1)).toThrow(/closed/);
  });

  test("free segments are kept up to a bound", () => {
    const names = new Set<string>();
    const memory = {
      shmCreate(name: string) {
        names.add(name);
        return { byteLength: 2 ** 28 } as ArrayBuffer;
      },
      shmUnlink: (name: string) => void names.delete(name),
    };
    const pool = new SegmentPool(memory);
    const taken = Array.from({ length: 6 }, () => pool.take(2 ** 28));
    for (const segment of taken) pool.release(segment);
    expect(names.size).toBe(4);
    pool.close();
    expect(names.size).toBe(0);
  });

  test("a segment released twice is on one shelf once", () => {
    const pool = new SegmentPool(loadNative());
    const segment = pool.take(10);
    pool.release(segment);
    pool.release(segment);
    expect(pool.take(10)).toBe(segment);
    expect(pool.take(10)).not.toBe(segment);
    pool.close();
  });
});

test.each([
  [0, 65_536],
  [65_536, 65_536],
  [65_537, 81_920],
  [2 ** 26, 2 ** 26],
  [2 ** 26 + 1, 2 ** 26 + 2 ** 24],
  [2 ** 36, 2 ** 36],
])("the class of %d bytes is %d", (bytes, size) => {
  expect(sizeClass(bytes)).toBe(size);
});

describe("addon", () => {
  const native = loadNative();
  const name = `opswap-${process.pid}-1-999`;

  test("two mappings of a segment are the same memory", () => {
    const one = new Uint8Array(native.shmCreate(name, 8192));
    const two = new Uint8Array(native.shmOpen(name, 8192));
    one[8191] = 9;
    expect(two[8191]).toBe(9);
    native.shmUnlink(name);
    native.shmUnlink(name);
  });

  test("what cannot be a segment is refused with a code", () => {
    const bad: [() => unknown, RegExp][] = [
      [() => native.shmCreate("../x", 1), /expected a name opswap-/],
      [() => native.shmCreate("opswap-../../x", 1), /expected a name/],
      [() => native.shmCreate(name, 0), /from 1 to 2\^36/],
      [() => native.shmCreate(name, Number.NaN), /from 1 to 2\^36/],
      [() => native.shmCreate(name, 2 ** 40), /from 1 to 2\^36/],
      [() => native.shmOpen(name, 1), /No such file/],
      [() => native.shmUnlink("x"), /expected a name/],
    ];
    for (const [call, message] of bad) {
      expect(call).toThrow(message);
      expect(call).toThrow(expect.objectContaining({ code: "OPSWAP_E_SEGMENT" }));
    }
  });

  test("a segment that is taken, and one that is smaller than asked for", () => {
    native.shmCreate(name, 4096);
    expect(() => native.shmCreate(name, 4096)).toThrow(/File exists/);
    expect(() => native.shmOpen(name, 4097)).toThrow(/at least 4097 bytes; the segment has 4096/);
    native.shmUnlink(name);
  });

  test("a full /dev/shm is an error and not a crash at the first write", () => {
    expect(() => native.shmCreate(name, 2 ** 36)).toThrow(
      expect.objectContaining({ code: "OPSWAP_E_MEMORY" }),
    );
    expect(existsSync(at(name))).toBe(false);
  });

  test("a limit on the size of files is an error and not the end of the process", () => {
    const script = `ulimit -f 64; exec "$0" -e '
      const native = require(${JSON.stringify(addonFile())});
      try { native.shmCreate("opswap-1-1-1", 1 << 20); } catch ({ code, errno }) { console.log(code, errno); }'`;
    const { stdout, signal } = spawnSync("sh", ["-c", script, process.execPath], { encoding: "utf8" });
    expect({ stdout, signal }).toEqual({ stdout: "OPSWAP_E_SEGMENT 27\n", signal: null });
  });
});

describe("a segment that cannot be had is refused with what is missing and the way out", () => {
  const failing = (errno: number) => ({
    shmCreate(): ArrayBuffer {
      throw Object.assign(new Error("shmCreate x: words"), { code: "OPSWAP_E_SEGMENT", errno });
    },
    shmUnlink: () => {},
  });

  test.each([
    ["ENOSPC", "OPSWAP_E_MEMORY", /\/dev\/shm has \d+ of \d+ bytes free/, /--shm-size=.*--local/],
    ["ENOMEM", "OPSWAP_E_MEMORY", /bytes free/, /--local/],
    ["EFBIG", "OPSWAP_E_MEMORY", /limit on the size of files/, /ulimit -f/],
    ["EMFILE", "OPSWAP_E_MEMORY", /too many files/, /ulimit -n/],
    ["ENOENT", "OPSWAP_E_SEGMENT", /there is no \/dev\/shm/, /mount a tmpfs/],
    ["EACCES", "OPSWAP_E_SEGMENT", /cannot be written \(EACCES\)/, /1777/],
    ["EROFS", "OPSWAP_E_SEGMENT", /cannot be written \(EROFS\)/, /rw/],
    ["EIO", "OPSWAP_E_SEGMENT", /EIO/, /--local/],
  ] as const)("%s", (name, code, why, remedy) => {
    const pool = new SegmentPool(failing(constants.errno[name]));
    expect(() => pool.take(1_000_000)).toThrow(
      expect.objectContaining({
        code,
        message: expect.stringMatching(new RegExp(`segment of 1048576 bytes.*${why.source}`)),
        remedy: expect.stringMatching(remedy),
      }),
    );
    pool.close();
  });

  test("a name that cannot be removed any more does not stop the others", () => {
    const asked: string[] = [];
    const pool = new SegmentPool({
      shmCreate: () => new ArrayBuffer(65_536),
      shmUnlink(name: string) {
        asked.push(name);
        throw Object.assign(new Error("read-only"), {
          code: "OPSWAP_E_SEGMENT",
          errno: constants.errno.EROFS,
        });
      },
    });
    for (let n = 0; n < 3; n++) pool.take(1);
    pool.close();
    expect(asked).toHaveLength(3);
  });
});

/** A process that makes three segments with the addon and then ends as told. */
function child(end: string): [string, string[]] {
  const lines = [
    `const native = require(${JSON.stringify(addonFile())});`,
    'const start = require("fs").readFileSync("/proc/self/stat", "utf8").split(") ")[1].split(" ")[19];',
    'for (let n = 0; n < 3; n++) native.shmCreate("opswap-" + process.pid + "-" + start + "-" + n, 4096);',
    'console.log("ready");',
    end,
  ];
  return [process.execPath, ["-e", lines.join("\n")]];
}

const owned = (pid: number | undefined) =>
  readdirSync("/dev/shm").filter((name) => name.startsWith(`opswap-${pid}-`));

test("a client that is killed leaves nothing once a sidecar has looked", async () => {
  const folder = runtimeFolder();
  const sidecar = await startSidecar(folder.dir);
  const [command, args] = child("setInterval(() => {}, 1000);");
  const client = spawn(command, args, { stdio: ["ignore", "pipe", "inherit"] });
  try {
    await once(client.stdout, "data");
    expect(owned(client.pid).length).toBe(3);
    client.kill("SIGKILL");
    await expect.poll(() => owned(client.pid), { timeout: 10_000 }).toEqual([]);
  } finally {
    client.kill("SIGKILL");
    await sidecar.stop();
    folder.remove();
  }
});

test("a client that ends without closing removes its segments itself", async () => {
  const folder = runtimeFolder();
  const sidecar = await startSidecar(folder.dir);
  const client = path.join(HERE, "..", "..", "..", "dist", "client", "index.js");
  const lines = [
    `import { readdirSync } from "node:fs";`,
    `import { connectSidecar } from ${JSON.stringify(client)};`,
    `const client = await connectSidecar({ runtimeDir: ${JSON.stringify(folder.dir)} });`,
    `client.tensor("float32", [10]);`,
    'const own = ["opswap", process.pid, ""].join("-");',
    'console.log(readdirSync("/dev/shm").find((name) => name.startsWith(own)));',
    "process.exit(3);",
  ];
  try {
    const args = ["--input-type=module", "-e", lines.join("\n")];
    const { stdout, status } = spawnSync(process.execPath, args, { encoding: "utf8" });
    expect(status).toBe(3);
    expect(stdout).toMatch(/^opswap-/);
    expect(existsSync(at(stdout.trim()))).toBe(false);
  } finally {
    await sidecar.stop();
    folder.remove();
  }
});
