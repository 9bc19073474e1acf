// `npm run gpu [-- OP ...]`: the GPU suite with the Python that is here, which has torch for CUDA; it installs nothing.
import { spawn } from "node:child_process";
import { delimiter, join } from "node:path";
import { endWithParent, exitOf } from "./lib/exec.mjs";
import { root } from "./lib/paths.mjs";
import { runMain } from "./lib/ui.mjs";

await runMain(async () => {
  const folders = ["test", "native", "kernels"].map((folder) => join(root, folder));
  const PYTHONPATH = [...folders, process.env.PYTHONPATH ?? ""].join(delimiter);
  const python = process.env.OPSWAP_PYTHON || "python3";
  const child = spawn(python, ["-m", "gpu", ...process.argv.slice(2)], {
    cwd: root,
    env: { ...process.env, PYTHONPATH },
    stdio: "inherit",
  });
  endWithParent(child);
  const code = await exitOf(child);
  return typeof code === "number" ? code : 1;
});
