// `npm run loaders [-- FAMILY ...] [--reader R] [--layout L] [--record]`: which reader gets the right weights out of each layout.
// `npm run loaders -- --rules [sglang=WHEEL]`: what engines' own model files say of their layers, for `plan`.
import { join } from "node:path";
import { runModule } from "./lib/modules.mjs";
import { build, engineEnv } from "./lib/setup.mjs";
import { runMain } from "./lib/ui.mjs";

await runMain(async () => {
  const workshop = await build();
  const python = join(await engineEnv(workshop), "bin/python");
  const [first, ...more] = process.argv.slice(2);
  if (first === "--rules") return runModule(python, "loaders.rules", more);
  return runModule(python, "loaders.matrix", process.argv.slice(2));
});
