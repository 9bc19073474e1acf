// `npm run build`: set-up, the native library, the Python package and dist/.
import { build } from "./lib/setup.mjs";
import { runMain, say } from "./lib/ui.mjs";

await runMain(async () => {
  await build();
  say("  built: build/native, build/python, dist");
});
