// `npm run roofline [-- OP ...] [--quick]`: the least work of each case, and what the emulated kernels do beyond it.
import { join } from "node:path";
import { buildEmulated } from "./lib/emulated-library.mjs";
import { runModule } from "./lib/modules.mjs";
import { prepare } from "./lib/setup.mjs";
import { runMain } from "./lib/ui.mjs";

await runMain(async () => {
  const { tools } = await prepare();
  const library = await buildEmulated(tools);
  return runModule(join(tools, "bin/python"), "roofline", [...process.argv.slice(2), "--library", library]);
});
