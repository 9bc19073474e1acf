// `npm run emulate -- OP [thread|address] [pytest options]`: one room's kernels, every case, on the emulator.
import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { digest, stampIs, writeStamp } from "./lib/digest.mjs";
import { emulated } from "./lib/emulated-library.mjs";
import { exitOf, probe } from "./lib/exec.mjs";
import { buildDir, pythonDir, root } from "./lib/paths.mjs";
import { build, prepare, pythonEnv } from "./lib/setup.mjs";
import { runMain, SetupError } from "./lib/ui.mjs";

/** The package names no op: a change of a kernel compiles that kernel only, one of the bindings builds everything. */
async function packaged() {
  const stamp = join(buildDir, ".emulated-with");
  const wanted = digest(["native/bindings", "native/python", "native/include"], [root]);
  if (stampIs(stamp, wanted) && existsSync(join(pythonDir, "opswap"))) return prepare();
  const workshop = await build();
  writeStamp(stamp, wanted);
  return workshop;
}

const HAS_KERNELS = `import pathlib, sys
sys.path.insert(0, sys.argv[1])
from gen.spec import kernel_files
print(len(kernel_files(pathlib.Path(sys.argv[2]))))`;

/** @param {string} tools @param {string} op */
async function hasKernels(tools, op) {
  const args = ["-c", HAS_KERNELS, join(root, "native"), join(root, "kernels", op)];
  return op !== "" && Number(await probe(join(tools, "bin/python"), args)) > 0;
}

await runMain(async () => {
  const [op = "", ...rest] = process.argv.slice(2);
  const named = rest[0] === "thread" || rest[0] === "address" ? rest[0] : null;
  const { tools } = await packaged();
  if (!(await hasKernels(tools, op)))
    throw new SetupError(`needs an op folder that has kernels, came "${op}": npm run emulate -- rms_norm`);
  const env = { ...pythonEnv(tools), ...(await emulated(tools, named ?? "plain")), OPSWAP_EMULATE_ROOM: op };
  const args = ["-m", "pytest", "-q", "-rs", "-p", "no:cacheprovider", "test/ops/test_emulated.py"];
  args.push(...rest.slice(named === null ? 0 : 1));
  const code = await exitOf(spawn(join(tools, "bin/python"), args, { cwd: root, env, stdio: "inherit" }));
  return code === 0 ? 0 : 1;
});
