import { execFile } from "node:child_process";
import { existsSync, mkdirSync } from "node:fs";
import path from "node:path";
import { promisify } from "node:util";
import { afterAll, expect, it } from "vitest";
import { cli } from "../cli/harness.js";
import { contents, convert, differing, events, type Ran, scratch, writeCheckpoint } from "./harness.js";

const run = promisify(execFile);
const { dir, remove } = scratch();
const source = writeCheckpoint(path.join(dir, "source"));
afterAll(remove);

/** Runs a shell script; `$1` is the command line's start, `$2` the source, `$3` a folder. */
async function shell(script: string, folder: string, prefix: string[] = []): Promise<Ran> {
  const words = [...prefix, "sh", "-c", script, "sh", `${process.execPath} ${cli} convert`, source, folder];
  const [command = "", ...args] = words;
  try {
    const { stdout, stderr } = await run(command, args);
    return { code: 0, signal: null, out: stdout, err: stderr };
  } catch (error) {
    const { code, signal, stdout, stderr } = error as Ran & { stdout: string; stderr: string };
    return { code, signal, out: stdout, err: stderr };
  }
}

it("a small file system: what is needed is said, and after room is made the run is whole", async (context) => {
  const mount = path.join(dir, "small");
  mkdirSync(mount);
  const user = ["unshare", "--user", "--map-root-user", "--mount"];
  if ((await shell('mount -t tmpfs -o size=4m none "$3"', mount, user)).code !== 0)
    context.skip(
      "this kernel lets no user mount a file system; faults.test.ts puts the error number in instead",
    );
  const script = `mount -t tmpfs -o size=4m none "$3" && head -c 3500000 /dev/zero > "$3/other"
    $1 run "$2" "$3/out"; echo "{\\"event\\":\\"code\\",\\"code\\":$?}"
    rm "$3/other" && $1 "$2" "$3/out" && cp -r "$3/out" "$3.copy"`;
  const ran = await shell(script, mount, user);
  expect(ran).toMatchObject({ code: 0, err: "" });
  const [refused, code] = events(ran);
  expect(refused).toMatchObject({ event: "error", code: "OPSWAP_E_DISK_FULL" });
  expect(String(refused?.message)).toMatch(/needs \d+ bytes more and its disk has \d+ free/);
  expect(code?.code).toBe(1);
  await convert(["run", source, path.join(dir, "reference")]);
  expect(differing(contents(`${mount}.copy`), contents(path.join(dir, "reference")))).toEqual([]);
});

it("a limit on the size of files is reported like a full disk", async () => {
  const folder = path.join(dir, "limited");
  mkdirSync(folder);
  const ran = await shell('ulimit -f 64; $1 run "$2" "$3/out"', folder);
  expect([ran.code, ran.signal]).toEqual([1, null]);
  expect(events(ran).at(-1)).toMatchObject({ event: "error", code: "OPSWAP_E_DISK_FULL" });
  expect(existsSync(path.join(folder, "out"))).toBe(false);
  expect((await convert(["run", source, path.join(folder, "out"), "-q"])).code).toBe(0);
});
