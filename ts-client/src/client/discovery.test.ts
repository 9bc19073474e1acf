import { spawnSync } from "node:child_process";
import { chmodSync, symlinkSync, utimesSync, writeFileSync } from "node:fs";
import path from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { PROTOCOL } from "../generated/messages.js";
import { runtimeFolder } from "../testing/servers.js";
import { discover, find, runtimeDir } from "./discovery.js";
import { startTime } from "./process.js";

let folder: ReturnType<typeof runtimeFolder>;

beforeEach(() => {
  folder = runtimeFolder();
});
afterEach(() => folder.remove());

function writeRecord(name: string, changes: Record<string, unknown> = {}): string {
  const file = path.join(folder.dir, `${name}.json`);
  const mine = { protocol: PROTOCOL, service: "engine", name, pid: process.pid, started: 5 };
  writeFileSync(file, JSON.stringify({ ...mine, start_time: startTime(process.pid), ...changes }));
  return file;
}

describe("discover", () => {
  test("lists live, hung and dead servers by name", () => {
    writeRecord("b");
    const hung = writeRecord("c");
    utimesSync(hung, 1, Date.now() / 1000 - 60);
    writeRecord("a", { start_time: "1" });
    const found = discover(folder.dir);
    expect(found.map(({ name, state }) => [name, state])).toEqual([
      ["a", "dead"],
      ["b", "live"],
      ["c", "hung"],
    ]);
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

  test("another protocol is refused with both numbers", () => {
    writeRecord("old", { protocol: 99 });
    expect(() => find("engine", "old", folder.dir)).toThrow(
      `speaks protocol 99, this client speaks ${PROTOCOL}`,
    );
  });
});

test("the folder comes from OPSWAP_RUNTIME_DIR, the session, or the user", () => {
  const env = { OPSWAP_RUNTIME_DIR: "/x/y", XDG_RUNTIME_DIR: folder.dir };
  expect(runtimeDir(env)).toBe("/x/y");
  expect(runtimeDir({ XDG_RUNTIME_DIR: folder.dir })).toBe(path.join(folder.dir, "opswap"));
  expect(runtimeDir({ XDG_RUNTIME_DIR: "/nowhere" })).toBe(`/tmp/opswap-${process.getuid?.()}`);
});

test("TypeScript and Python choose the same folder and see the same start time", () => {
  const python = process.env.OPSWAP_PYTHON ?? "python3";
  const env = { ...process.env, XDG_RUNTIME_DIR: folder.dir, OPSWAP_RUNTIME_DIR: "" };
  const code = "from opswap.ipc import discovery, process; import os; ";
  const show = "print(discovery.runtime_dir(), process.start_time(os.getppid()))";
  const { stdout } = spawnSync(python, ["-c", code + show], { env, encoding: "utf8" });
  expect(stdout.trim()).toBe(`${runtimeDir(env)} ${startTime(process.pid)}`);
});
