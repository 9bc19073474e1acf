import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { chmodSync, mkdirSync, symlinkSync, utimesSync, writeFileSync } from "node:fs";
import path from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { PROTOCOL } from "../generated/messages.js";
import { runtimeFolder } from "../testing/servers.js";
import { discover, find } from "./discovery.js";
import { runtimeDir, runtimeDirs } from "./folders.js";
import { startTime } from "./process.js";

let folder: ReturnType<typeof runtimeFolder>;

beforeEach(() => {
  folder = runtimeFolder();
});
afterEach(() => folder.remove());

function writeRecord(name: string, changes: Record<string, unknown> = {}, dir = folder.dir): string {
  const file = path.join(dir, `${name}.json`);
  const mine = { protocol: PROTOCOL, service: "engine", name, pid: process.pid, started: 5 };
  writeFileSync(file, JSON.stringify({ ...mine, start_time: startTime(process.pid), ...changes }));
  return file;
}

function folderIn(name: string): string {
  const dir = path.join(folder.dir, name);
  mkdirSync(dir, { mode: 0o700 });
  return dir;
}

describe("discover", () => {
  test("lists live, starting, hung and dead servers by name", () => {
    writeRecord("b");
    const hung = writeRecord("c");
    utimesSync(hung, 1, Date.now() / 1000 - 60);
    writeRecord("a", { start_time: "1" });
    writeRecord("d", { state: "starting", started: Date.now() - 40_000 });
    const silent = writeRecord("e", { state: "starting" });
    utimesSync(silent, 1, Date.now() / 1000 - 60);
    writeRecord("f", { state: "ready" });
    const found = discover(folder.dir);
    expect(found.map(({ name, state }) => [name, state])).toEqual([
      ["a", "dead"],
      ["b", "live"],
      ["c", "hung"],
      ["d", "starting"],
      ["e", "hung"],
      ["f", "live"],
    ]);
    expect(found[3]?.reason).toMatch(/has loaded for (40|41) s/);
    expect(found[0]?.reason).toMatch(/has ended/);
    expect(found[1]?.socket).toBe(path.join(folder.dir, "b.sock"));
    expect(found[2]?.reason).toMatch(/no sign of life for (59|60|61) s/);
  });

  test("leaves out what is not a card", () => {
    writeFileSync(path.join(folder.dir, "half.json"), '{"name": "ha');
    writeFileSync(path.join(folder.dir, "big.json"), " ".repeat(70_000));
    writeRecord("x", { name: "y" });
    writeRecord("z", { pid: "1" });
    expect(discover(folder.dir)).toEqual([]);
  });

  test("a folder that is not there has nobody in it", () => {
    expect(discover(path.join(folder.dir, "none"))).toEqual([]);
  });

  test("a folder that others can enter, or a link, is refused", () => {
    chmodSync(folder.dir, 0o755);
    expect(() => discover(folder.dir)).toThrow(/mode 700.*mode 755/);
    chmodSync(folder.dir, 0o700);
    const link = path.join(folder.dir, "link");
    symlinkSync(folder.dir, link);
    expect(() => discover(link)).toThrow(/must be a folder/);
  });

  test("looks into every folder, and leaves out one that others can enter beside one that they cannot", () => {
    writeRecord("here");
    const [second, open] = [folderIn("second"), folderIn("open")];
    writeRecord("there", {}, second);
    writeRecord("elsewhere", {}, open);
    chmodSync(open, 0o755);
    const all = discover([second, folder.dir, open, path.join(folder.dir, "none")]);
    expect(all.map(({ name, socket }) => [name, path.dirname(socket)])).toEqual([
      ["here", folder.dir],
      ["there", second],
    ]);
  });
});

describe("find", () => {
  test("the only engine needs no name", () => {
    writeRecord("only");
    writeRecord("gone", { start_time: "1" });
    writeRecord("sidecar", { service: "sidecar" });
    expect(find("engine", undefined, folder.dir).name).toBe("only");
  });

  test("several engines need a name", () => {
    writeRecord("one");
    writeRecord("two");
    expect(() => find("engine", undefined, folder.dir)).toThrow(/2 .* running: one, two/);
    expect(find("engine", "two", folder.dir).name).toBe("two");
  });

  test("one that is not there names those that are, and why it is gone", () => {
    writeRecord("one");
    writeRecord("gone", { start_time: "1" });
    expect(() => find("engine", "gone", folder.dir)).toThrow(/no engine named gone.*has ended; running: one/);
  });

  test("one that is starting is refused as such", () => {
    writeRecord("slow", { state: "starting" });
    const starting = expect.objectContaining({
      code: "OPSWAP_E_STARTING",
      message: expect.stringMatching(/^engine slow is starting: process \d+ has loaded for \d+ s$/),
    });
    expect(() => find("engine", undefined, folder.dir)).toThrow(starting);
    expect(() => find("engine", "slow", folder.dir)).toThrow(starting);
  });

  test("two of one name are told by their folders", () => {
    const second = folderIn("second");
    writeRecord("twin");
    writeRecord("twin", {}, second);
    const both = expect.objectContaining({
      code: "OPSWAP_E_AMBIGUOUS",
      message: `2 of kind engine are running: twin in ${folder.dir}, twin in ${second}`,
      remedy: expect.stringContaining("OPSWAP_RUNTIME_DIR"),
    });
    expect(() => find("engine", "twin", [folder.dir, second])).toThrow(both);
    writeRecord("twin", { start_time: "1" });
    expect(find("engine", "twin", [folder.dir, second]).socket).toBe(path.join(second, "twin.sock"));
  });

  test("another protocol is refused with both numbers", () => {
    writeRecord("old", { protocol: 99 });
    expect(() => find("engine", "old", folder.dir)).toThrow(
      `speaks protocol 99, this client speaks ${PROTOCOL}`,
    );
  });
});

describe("the runtime folders", () => {
  const user = String(process.geteuid?.());
  const places = () => ({ sessions: path.join(folder.dir, "run"), shared: folder.dir });
  const shared = () => path.join(folder.dir, `opswap-${user}`);
  const session = () => folderIn("session");

  test("OPSWAP_RUNTIME_DIR stands for itself alone", () => {
    const env = { OPSWAP_RUNTIME_DIR: "/x/y", XDG_RUNTIME_DIR: folder.dir };
    expect(runtimeDirs(env, places())).toEqual(["/x/y"]);
    expect(runtimeDir(env)).toBe("/x/y");
  });

  test("a service without a session and a shell with one search the same", () => {
    const own = path.join(folder.dir, "run", user);
    mkdirSync(own, { recursive: true });
    const all = [path.join(own, "opswap"), shared()];
    expect(runtimeDirs({}, places())).toEqual(all);
    expect(runtimeDirs({ XDG_RUNTIME_DIR: own }, places())).toEqual(all);
    expect(runtimeDirs({ XDG_RUNTIME_DIR: "/nowhere" }, places())).toEqual(all);
    const other = session();
    expect(runtimeDirs({ XDG_RUNTIME_DIR: other }, places())).toEqual([path.join(other, "opswap"), ...all]);
  });

  test("a folder of another user's is no session", () => {
    const env = { XDG_RUNTIME_DIR: user === "0" ? "relative" : "/root" };
    expect(runtimeDirs(env, places())).toEqual([shared()]);
  });

  test("TypeScript and Python choose the same folders and see the same start time", () => {
    const python = process.env.OPSWAP_PYTHON ?? "python3";
    const own = path.join(folder.dir, "run", user);
    mkdirSync(own, { recursive: true });
    const { sessions, shared } = places();
    const code = `import os, pathlib; from opswap.ipc import folders, process
folders.SESSIONS, folders.SHARED = pathlib.Path("${sessions}"), pathlib.Path("${shared}")
print(*folders.runtime_dirs(), process.start_time(os.getppid()))`;
    for (const XDG_RUNTIME_DIR of ["", session(), `${own}/`, "/nowhere"]) {
      const env = { ...process.env, XDG_RUNTIME_DIR, OPSWAP_RUNTIME_DIR: "" };
      const { stdout } = spawnSync(python, ["-c", code], { env, encoding: "utf8" });
      expect(stdout.trim().split(" ")).toEqual([
        ...runtimeDirs(env, places()),
        String(startTime(process.pid)),
      ]);
    }
  });

  /** An engine that takes its name as a process with this environment does. */
  async function engine(env: NodeJS.ProcessEnv) {
    const { sessions, shared } = places();
    const code = `import pathlib, sys; from opswap.ipc import claim, folders
folders.SESSIONS, folders.SHARED = pathlib.Path("${sessions}"), pathlib.Path("${shared}")
claim.Claim("engine", "service"); print("ready", flush=True); sys.stdin.read()`;
    const python = process.env.OPSWAP_PYTHON ?? "python3";
    const child = spawn(python, ["-c", code], { env: { ...process.env, OPSWAP_RUNTIME_DIR: "", ...env } });
    await once(child.stdout, "data");
    return async () => {
      child.stdin.end();
      await once(child, "exit");
    };
  }

  test("a service and a shell find each other, whichever of them has a session", async () => {
    const end = await engine({ XDG_RUNTIME_DIR: "" });
    const own = path.join(folder.dir, "run", user);
    mkdirSync(own, { recursive: true });
    const shell = { XDG_RUNTIME_DIR: own };
    expect(discover(runtimeDirs(shell, places())).map(({ socket }) => socket)).toEqual([
      path.join(shared(), "service.sock"),
    ]);
    await end();
    const endOther = await engine(shell);
    expect(discover(runtimeDirs({}, places())).filter(({ state }) => state !== "dead")).toEqual([
      expect.objectContaining({ socket: path.join(own, "opswap", "service.sock"), state: "starting" }),
    ]);
    await endOther();
  });
});
