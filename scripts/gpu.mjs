// `npm run gpu [-- OP ...]`: the GPU suite with the Python that is here, which has torch for CUDA; it installs nothing.
import { runModule } from "./lib/modules.mjs";
import { runMain } from "./lib/ui.mjs";

await runMain(() => runModule(process.env.OPSWAP_PYTHON || "python3", "gpu", process.argv.slice(2)));
