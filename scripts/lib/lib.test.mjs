import { spawn } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { hostname, tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, describe, expect, it } from "vitest";
import { probe } from "./exec.mjs";
import { withLock } from "./mutex.mjs";
import { engineObstacle } from "./python.mjs";
import { collect, readJUnit, total } from "./results.mjs";

const dir = mkdtempSync(join(tmpdir(), "ow"));
afterAll(() => rmSync(dir, { recursive: true, force: true }));

describe("withLock", () => {
  it("lets one at a time in and leaves nothing behind", async () => {
    const lock = join(dir, "a.lock");
    let inside = 0;
    const once = () =>
      withLock(lock, "test", async () => {
        inside += 1;
        expect(inside).toBe(1);
        await new Promise((done) => setTimeout(done, 20));
        inside -= 1;
      });
    await Promise.all([once(), once(), once()]);
    expect(existsSync(lock)).toBe(false);
  });

  it("gives the lock back when the work fails", async () => {
    const lock = join(dir, "b.lock");
    await expect(withLock(lock, "test", () => Promise.reject(new Error("no")))).rejects.toThrow("no");
    expect(existsSync(lock)).toBe(false);
  });

  it("takes over from an owner that was killed", async () => {
    const lock = join(dir, "c.lock");
    const mutex = fileURLToPath(new URL("mutex.mjs", import.meta.url));
    const script = `import { withLock } from ${JSON.stringify(mutex)};
      await withLock(${JSON.stringify(lock)}, "t", () => { console.log("in"); return new Promise((r) => setTimeout(r, 60000)); });`;
    const child = spawn(process.execPath, ["--input-type=module", "-e", script], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    await new Promise((done) => child.stdout.once("data", done));
    const ended = new Promise((done) => child.once("exit", done));
    child.kill("SIGKILL");
    await ended;
    expect(existsSync(lock)).toBe(true);
    expect(await withLock(lock, "test", async () => "taken")).toBe("taken");
  });

  it("takes over from a process whose id belongs to another one now", async () => {
    const lock = join(dir, "d.lock");
    mkdirSync(lock);
    const owner = { host: hostname(), pid: process.pid, started: "0" };
    writeFileSync(join(lock, "owner.json"), JSON.stringify(owner));
    expect(await withLock(lock, "test", async () => "taken")).toBe("taken");
  });
});

describe("a suite's processes", () => {
  it("end with the run that started them, those that they started themselves as well", async () => {
    const runners = fileURLToPath(new URL("runners.mjs", import.meta.url));
    const grandchild = "console.log('up', process.pid); setInterval(() => {}, 1000);";
    const child = `require("node:child_process").spawn(process.execPath, ["-e", ${JSON.stringify(grandchild)}], { stdio: "inherit" }).on("exit", () => {});`;
    const script = `import { ran } from ${JSON.stringify(runners)};
      process.on("SIGTERM", () => process.exit(143));
      await ran({ fd: 1 }, process.execPath, ["-e", ${JSON.stringify(child)}], process.env);`;
    const run = spawn(process.execPath, ["--input-type=module", "-e", script], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    const said = await new Promise((done) => run.stdout.once("data", (text) => done(String(text))));
    const pid = Number(/up (\d+)/.exec(said)?.[1]);
    expect(() => process.kill(pid, 0)).not.toThrow();
    const closed = new Promise((done) => run.stdout.once("close", done));
    run.kill("SIGTERM");
    await closed; // by the last process that had it open, the grandchild
    while (isRunning(pid)) await new Promise((done) => setTimeout(done, 10));
  });
});

/** @param {number} pid */
function isRunning(pid) {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

describe("results", () => {
  const xml = `<testsuites><testsuite><testcase classname="a" name="one" time="0.1"/>
    <testcase classname="a" name="x &gt; y"><skipped type="pytest.skip" message="no &quot;GPU&quot;">at</skipped></testcase>
    <testcase classname="a" name="b"><failure message="1 &lt; 2">trace</failure></testcase>
    <testcase name="c" classname="c" status="run"></testcase></testsuite></testsuites>`;

  it("are read from JUnit files", () => {
    const expected = {
      passed: 2,
      failed: ["a b: 1 < 2"],
      skipped: [{ name: "a x > y", reason: 'no "GPU"' }],
    };
    expect(readJUnit(xml)).toEqual(expected);
    expect(total([expected, expected])).toMatchObject({ passed: 4, failed: ["a b: 1 < 2", "a b: 1 < 2"] });
  });

  it("count a runner that dies, or reports nothing, as a failure", () => {
    const file = join(dir, "r.xml");
    expect(collect(file, readJUnit, 0)).toMatchObject({ failed: ["r.xml: exit 0, no failure named"] });
    writeFileSync(file, '<testcase classname="a" name="one"/>');
    expect(collect(file, readJUnit, 139)).toMatchObject({
      passed: 1,
      failed: ["r.xml: exit 139, no failure named"],
    });
    expect(collect(file, readJUnit, 0)).toMatchObject({ passed: 1, failed: [] });
  });
});

describe("what must be there", () => {
  it("probes programs without failing", async () => {
    expect(await probe("no-such-program-anywhere", [])).toBeNull();
    expect(await probe(process.execPath, ["-p", "1+1"])).toBe("2");
  });

  it("says why a Python cannot run the engine, and how to get one", () => {
    const python = { path: "/p", version: "3.10.12", minor: 10, venv: true, headers: true };
    expect(engineObstacle(python)).toMatch(/3\.11 to 3\.13.*only 3\.10\.12.*apt install/);
    expect(engineObstacle({ ...python, version: "3.12.1", minor: 12 })).toBeNull();
  });
});
