// `npm run roofline [-- OP ...] [--quick]`: the least work of each case, and what the emulated kernels do beyond it.
import { spawn } from "node:child_process";
import { delimiter, join } from "node:path";
import { buildEmulated } from "./lib/emulated-library.mjs";
import { endWithParent, exitOf } from "./lib/exec.mjs";
import { root } from "./lib/paths.mjs";
import { prepare } from "./lib/setup.mjs";
import { runMain } from "./lib/ui.mjs";

await runMain(async () => {
  const { tools } = await prepare();
  const library = await buildEmulated(tools);
  const folders = ["test", "native", "kernels"].map((folder) => join(root, folder));
  const env = { ...process.env, PYTHONPATH: folders.join(delimiter) };
  const args = ["-m", "roofline", ...process.argv.slice(2), "--library", library];
  const child = spawn(join(tools, "bin/python"), args, { cwd: root, env, stdio: "inherit" });
  endWithParent(child);
  const code = await exitOf(child);
  return typeof code === "number" ? code : 1;
});
