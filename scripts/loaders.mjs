// `npm run loaders [-- FAMILY ...] [--reader R] [--layout L] [--record]`: which reader gets the right weights out of each layout.
// `npm run loaders -- --compressed-tensors [FAMILY ...]`: the same of compressed-tensors alone, in the versions that engines bring.
// `npm run loaders -- --rules [sglang=WHEEL]`: what engines' own model files say of their layers, for `plan`.
import { delimiter, join } from "node:path";
import { compressedTensors } from "./lib/compressed-tensors.mjs";
import { runModule } from "./lib/modules.mjs";
import { build, engineEnv } from "./lib/setup.mjs";
import { runMain } from "./lib/ui.mjs";

await runMain(async () => {
  const workshop = await build();
  const python = join(await engineEnv(workshop), "bin/python");
  const [first, ...more] = process.argv.slice(2);
  if (first === "--rules") return runModule(python, "loaders.rules", more);
  if (first === "--compressed-tensors") {
    process.env.OPSWAP_COMPRESSED_TENSORS = (await compressedTensors(workshop.python)).join(delimiter);
    return runModule(python, "loaders.matrix", ["--reader", "compressed_tensors", ...more]);
  }
  return runModule(python, "loaders.matrix", process.argv.slice(2));
});
