// Makes the lock files again: env/*.lock from env/*.in, package-lock.json and env/node's from their package.json; `-- NAME` makes env/NAME.lock alone.
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { ensureUv } from "./lib/envs.mjs";
import { logged } from "./lib/exec.mjs";
import { root } from "./lib/paths.mjs";
import { findPython } from "./lib/python.mjs";
import { runMain, SetupError, step } from "./lib/ui.mjs";

/** The oldest Python that each environment is made for. */
const ENVIRONMENTS = {
  uv: "3.10",
  tools: "3.10",
  engine: "3.11",
  sglang: "3.11",
  bench: "3.11",
  llmcompressor: "3.11",
  package: "3.10",
  cuda: "3.10",
  sass: "3.10",
  ray: "3.10",
  mpi: "3.11",
};

/**
 * Packages that an override marks as never wanted stay in uv's output with an impossible marker; here they go.
 * @param {string} text
 */
function withoutNever(text) {
  const entries = text.split(/^(?=[A-Za-z0-9])/m);
  const wanted = (/** @type {string} */ entry) => {
    const [, marker] = /^[^\n]* ; ([^\n]*)/.exec(entry) ?? [];
    return (
      marker === undefined || !marker.split(" or ").every((one) => one.includes("sys_platform == 'never'"))
    );
  };
  return entries.filter(wanted).join("");
}

/** @param {string} uv @param {string} name @param {string} python */
async function lockEnvironment(uv, name, python) {
  const overrides = join(root, `env/${name}-overrides.txt`);
  const args = ["pip", "compile", "--universal", "--generate-hashes", "--no-emit-index-url", "--no-annotate"];
  args.push("--no-header", "--upgrade", "--python-version", python);
  if (existsSync(overrides)) args.push("--overrides", overrides);
  const output = join(root, `env/${name}.lock`);
  const env = { UV_PYTHON_DOWNLOADS: "never", UV_NO_CONFIG: "1" };
  await step(`env/${name}.lock`, (progress) =>
    logged(`lock-${name}`, uv, [...args, join(root, `env/${name}.in`), "-o", output], { env, progress }),
  );
  const note = `# Made by \`npm run lock\` from env/${name}.in; Python ${python} to 3.13.\n`;
  writeFileSync(output, note + withoutNever(readFileSync(output, "utf8")));
}

async function lockNode() {
  const args = ["install", "--package-lock-only"];
  await step("package-lock.json", (progress) => logged("lock-npm", "npm", args, { progress }));
  const cwd = join(root, "env/node");
  await step("env/node", (progress) => logged("lock-node", "npm", args, { cwd, progress }));
}

await runMain(async () => {
  const [only] = process.argv.slice(2);
  const chosen = Object.entries(ENVIRONMENTS).filter(([name]) => only === undefined || name === only);
  if (chosen.length === 0)
    throw new SetupError(`no environment ${only}: ${Object.keys(ENVIRONMENTS).join(", ")}`);
  const uv = await ensureUv(await findPython());
  for (const [name, python] of chosen) await lockEnvironment(uv, name, python);
  if (only === undefined) await lockNode();
});
