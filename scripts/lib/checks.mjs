// What `npm run check` looks at. Each check is a command that prints what is wrong and exits with 1.
import { execFileSync } from "node:child_process";
import { join } from "node:path";
import { findCuobjdump } from "./cuda.mjs";
import { root } from "./paths.mjs";

/** @typedef {{ name: string, command: string, args: string[], cwd?: string }} Check */

/** @param {string[]} patterns @returns {string[]} tracked and new files, not the ignored ones */
function files(...patterns) {
  const args = ["ls-files", "-co", "--exclude-standard", "--deduplicate", "--", ...patterns];
  const out = execFileSync("git", args, { cwd: root, encoding: "utf8" });
  return out.split("\n").filter(Boolean);
}

/** @param {string} python @param {boolean} fix @returns {Check[]} */
function generatedFiles(python, fix) {
  return [
    {
      name: "generated files",
      command: python,
      args: ["-m", "gen", root, fix ? "commit" : "check"],
      cwd: "native",
    },
    {
      name: "schema of experiments",
      command: process.execPath,
      args: ["scripts/lib/experiment-schema.mjs", ...(fix ? [] : ["--check"])],
    },
    { name: "protocol files", command: python, args: ["ipc/generate.py", ...(fix ? [] : ["--check"])] },
    {
      name: "wgmma shapes",
      command: python,
      args: ["kernels/common/sm90/wgmma_gen.py", ...(fix ? [] : ["check"])],
    },
  ];
}

/** @typedef {import("./setup.mjs").Workshop} Workshop */

/** The table of what the compiled kernels take. @param {Workshop} workshop @param {boolean} fix @returns {Promise<Check[]>} */
async function kernelBudget({ tools, python, nvcc }, fix) {
  if (nvcc === null) return [];
  const args = ["-m", "static.budget", root, await findCuobjdump(nvcc, python), ...(fix ? ["--write"] : [])];
  return [{ name: "kernel budget", command: join(tools, "bin/python"), args, cwd: "test" }];
}

/** @param {Workshop} workshop @param {boolean} fix @returns {Promise<Check[]>} */
export async function allChecks(workshop, fix) {
  const node = process.execPath;
  const program = (/** @type {string} */ name) => join(workshop.tools, "bin", name);
  const cpp = files(
    "native/*.cpp",
    "native/*.h",
    "kernels/*.cpp",
    "kernels/*.h",
    "kernels/*.cu",
    "test/*.cpp",
    "test/*.h",
  );
  const own = cpp.filter((file) => !file.endsWith("opswap_dlpack.h"));
  const biome = ["node_modules/@biomejs/biome/bin/biome", fix ? "check" : "ci", "--error-on-warnings"];
  return [
    ...generatedFiles(program("python"), fix),
    ...(await kernelBudget(workshop, fix)),
    { name: "types", command: node, args: ["node_modules/typescript/bin/tsc", "-p", "."] },
    { name: "TypeScript style", command: node, args: fix ? [...biome, "--write"] : biome },
    { name: "Python style", command: program("ruff"), args: ["check", "--quiet", ...(fix ? ["--fix"] : [])] },
    {
      name: "Python format",
      command: program("ruff"),
      args: ["format", "--quiet", ...(fix ? [] : ["--check", "--diff"])],
    },
    {
      name: "C++ format",
      command: program("clang-format"),
      args: [...(fix ? ["-i"] : ["--dry-run", "--Werror"]), ...own],
    },
    {
      name: "house rules",
      command: program("python"),
      args: ["-m", "pytest", "-q", "test/house", "-m", "not slow"],
    },
  ];
}
