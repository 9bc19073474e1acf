// `npm run emulate -- OP [thread|address] [pytest options]`: one room's sm90.cu, every case, on the emulator.
import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { digest, stampIs, writeStamp } from "./lib/digest.mjs";
import { emulated } from "./lib/emulated-library.mjs";
import { exitOf } from "./lib/exec.mjs";
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

await runMain(async () => {
  const [op = "", ...rest] = process.argv.slice(2);
  if (!existsSync(join(root, "kernels", op, "sm90.cu")) || op === "")
    throw new SetupError(`needs a room that has a sm90.cu, came "${op}": npm run emulate -- rms_norm`);
  const named = rest[0] === "thread" || rest[0] === "address" ? rest[0] : null;
  const { tools } = await packaged();
  const env = { ...pythonEnv(tools), ...(await emulated(tools, named ?? "plain")), OPSWAP_EMULATE_ROOM: op };
  const args = ["-m", "pytest", "-q", "-rs", "-p", "no:cacheprovider", "test/ops/test_emulated.py"];
  args.push(...rest.slice(named === null ? 0 : 1));
  const code = await exitOf(spawn(join(tools, "bin/python"), args, { cwd: root, env, stdio: "inherit" }));
  return code === 0 ? 0 : 1;
});
