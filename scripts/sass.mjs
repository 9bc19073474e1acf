// `npm run sass [-- OP ...]`: what the compiled kernels issue and have under way, read from their machine code.
import { join } from "node:path";
import { findCuobjdump } from "./lib/cuda.mjs";
import { runModule } from "./lib/modules.mjs";
import { build } from "./lib/setup.mjs";
import { runMain, SetupError } from "./lib/ui.mjs";

await runMain(async () => {
  const { tools, nvcc, python } = await build();
  if (nvcc === null)
    throw new SetupError("there are no compiled kernels: no nvcc, or OPSWAP_CUDA=off; see CONTRIBUTING.md");
  process.env.OPSWAP_NVCC = nvcc;
  process.env.OPSWAP_CUOBJDUMP = await findCuobjdump(nvcc, python);
  return runModule(join(tools, "bin/python"), "sass", process.argv.slice(2));
});
