// `npm run package`: wheels, npm tarballs, bill of materials and checksums in build/packages, each examined before it is published.
import { relative } from "node:path";
import { makePackages } from "./lib/package/packages.mjs";
import { packagesDir, root } from "./lib/paths.mjs";
import { build } from "./lib/setup.mjs";
import { runMain, say } from "./lib/ui.mjs";

await runMain(async () => {
  const report = await makePackages(await build());
  for (const line of report) say(`  ${line}`);
  say(
    `  made: ${relative(root, packagesDir)}; check with: cd ${relative(root, packagesDir)} && sha256sum -c SHA256SUMS`,
  );
});
