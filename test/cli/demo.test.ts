import { spawn } from "node:child_process";
import { chmodSync, existsSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import path from "node:path";
import { pathToFileURL } from "node:url";
import { afterAll, expect, it } from "vitest";
import { startTime } from "../../ts-client/src/client/process.js";
import { pythonEnvironment } from "../../ts-client/src/python-environment.js";
import { root, scratch } from "./harness.js";

const { dir, remove } = scratch();
afterAll(remove);

/** Stands in for `vllm serve`: a server with a worker of its own; both say who they are and stay. */
const VLLM = `#!/bin/sh
sleep 600 & echo "$! worker" >> ${dir}/pids
echo "$$ server" >> ${dir}/pids
wait
`;

/** `npm start`, as far as it serves. */
const DEMO = `import { runDemo } from ${JSON.stringify(pathToFileURL(path.join(root, "dist/demo/index.js")))};
  const [engine, packages, log] = process.argv.slice(1);
  const stage = { say() {}, step: (label, work) => work(() => {}) };
  await runDemo({ engine, packages, model: "none", log }, true, stage);`;

it("what the demo serves ends with it, also when it is killed", async () => {
  const bin = path.join(dir, "engine", "bin");
  mkdirSync(bin, { recursive: true });
  symlinkSync(pythonEnvironment().python, path.join(bin, "python"));
  writeFileSync(path.join(bin, "vllm"), VLLM);
  chmodSync(path.join(bin, "vllm"), 0o755);
  const words = [path.join(dir, "engine"), path.join(root, "build/python"), path.join(dir, "log")];
  const demo = spawn(process.execPath, ["--input-type=module", "-e", DEMO, "--", ...words], {
    stdio: "inherit",
  });
  const pids = () => (existsSync(path.join(dir, "pids")) ? readFileSync(path.join(dir, "pids"), "utf8") : "");
  await expect.poll(pids, { timeout: 60_000 }).toMatch(/server/);
  const lines = pids().trim().split("\n");
  const alive = () => lines.map((line) => Number.parseInt(line, 10)).filter((pid) => startTime(pid) !== null);
  expect(alive()).toHaveLength(2);
  demo.kill("SIGKILL");
  await expect.poll(alive, { timeout: 60_000 }).toEqual([]);
});
