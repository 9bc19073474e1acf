// TypeScript into dist/, and dist/ only when the sources changed.
import { chmodSync } from "node:fs";
import { join } from "node:path";
import { digest, stampIs, writeStamp } from "./digest.mjs";
import { logged } from "./exec.mjs";
import { distDir, root } from "./paths.mjs";
import { step } from "./ui.mjs";

export async function buildTypeScript() {
  const stamp = join(distDir, ".built-from");
  const wanted = digest(["ts-client/src", "tsconfig.json", "rolldown.config.mjs", "package-lock.json"]);
  if (stampIs(stamp, wanted)) return;
  const args = [join(root, "node_modules/rolldown/bin/cli.mjs"), "-c", "rolldown.config.mjs"];
  await step("TypeScript", (progress) => logged("typescript", process.execPath, args, { progress }));
  chmodSync(join(distDir, "opswap.cjs"), 0o755);
  writeStamp(stamp, wanted);
}
