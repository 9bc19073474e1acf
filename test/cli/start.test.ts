import { execFileSync, spawnSync } from "node:child_process";
import { cpSync, readdirSync, readFileSync, rmSync, statSync, utimesSync, writeFileSync } from "node:fs";
import path from "node:path";
import { beforeEach, describe, expect, it } from "vitest";
import { cli, root, scratch } from "./harness.js";

it("loads ZeroMQ for verbs that talk alone: at exit it can hold a process up, and says so on stderr", () => {
  const code = `process.on("exit", () => {
    process.stderr.write(JSON.stringify(process.report.getReport().sharedObjects));
  });
  require(process.argv[1]);`;
  const { stdout, stderr } = spawnSync(process.execPath, ["-e", code, cli, "--help"], { encoding: "utf8" });
  expect(stdout).toContain("Usage: opswap");
  expect(JSON.parse(stderr)).not.toEqual([]);
  expect(JSON.parse(stderr).filter((file: string) => file.includes("zeromq"))).toEqual([]);
});

it("says its version, whether alone or among other words", () => {
  const { version } = JSON.parse(readFileSync(path.join(root, "package.json"), "utf8"));
  for (const words of [["--version"], ["-V"], ["--version", "ops"], ["-V", "--version"]]) {
    const { status, stdout, stderr } = spawnSync(process.execPath, [cli, ...words], { encoding: "utf8" });
    expect({ words, status, stdout, stderr }).toEqual({
      words,
      status: 0,
      stdout: `${version}\n`,
      stderr: "",
    });
  }
});

describe("compiled code that is kept", () => {
  const HELP = "see which kernels an inference engine runs";
  let dist: string;
  const run = (...args: string[]) =>
    spawnSync(process.execPath, [path.join(dist, "opswap.cjs"), ...args], { encoding: "utf8" });
  const kept = () =>
    readdirSync(path.join(dist, "compiled"), { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile())
      .map((entry) => path.join(entry.parentPath, entry.name));

  beforeEach(() => {
    const { dir, remove } = scratch();
    dist = path.join(dir, "dist");
    cpSync(path.join(root, "dist"), dist, { recursive: true });
    cpSync(path.join(root, "package.json"), path.join(dir, "package.json"));
    rmSync(path.join(dist, "compiled"), { recursive: true, force: true });
    return remove;
  });

  const age = () => {
    for (const file of kept()) utimesSync(file, 1, 1);
  };
  /** What was refused is written again. */
  const anew = () => kept().filter((file) => statSync(file).mtimeMs > 1_000);

  it("is what the next run takes", () => {
    expect(run("--help").stdout).toContain(HELP);
    expect(kept()).not.toEqual([]);
    age();
    expect(run("--help").stdout).toContain(HELP);
    expect(anew()).toEqual([]);
  });

  it("is not taken when it is damaged, or of files that are there no longer", () => {
    run("--help");
    for (const file of kept()) writeFileSync(file, "not compiled");
    age();
    expect(run("--help").stdout).toContain(HELP);
    expect(anew()).toEqual(kept());
    const main = path.join(dist, "main.cjs");
    writeFileSync(main, readFileSync(main, "utf8").replace(HELP, HELP.toUpperCase()));
    expect(run("--help").stdout).toContain(HELP.toUpperCase());
  });

  it("is not there after a run that failed, and not missed where it cannot be written", () => {
    expect(run("nonsense").status).toBe(2);
    expect(() => kept()).toThrow("ENOENT");
    writeFileSync(path.join(dist, "compiled"), "a file where the folder would be");
    expect(
      execFileSync(process.execPath, [path.join(dist, "opswap.cjs"), "--help"], { encoding: "utf8" }),
    ).toContain(HELP);
  });
});
