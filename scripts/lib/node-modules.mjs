// Node packages: `npm ci` when the lock file is not the one that node_modules was made from.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { digest, stampIs, writeStamp } from "./digest.mjs";
import { logged } from "./exec.mjs";
import { withLock } from "./mutex.mjs";
import { buildDir, root } from "./paths.mjs";
import { SetupError, step } from "./ui.mjs";

const stamp = join(root, "node_modules/.opswap-stamp");

export function checkNodeVersion() {
  const wanted = JSON.parse(readFileSync(join(root, "package.json"), "utf8")).engines.node;
  const [major = 0, minor = 0] = wanted.replace(">=", "").split(".").map(Number);
  const [haveMajor = 0, haveMinor = 0] = process.versions.node.split(".").map(Number);
  if (haveMajor > major || (haveMajor === major && haveMinor >= minor)) return;
  throw new SetupError(
    `needs Node ${wanted}, this is ${process.versions.node}; install a newer one and run it again`,
  );
}

export async function ensureNodeModules() {
  checkNodeVersion();
  const wanted = digest(["package-lock.json"], [process.arch]);
  if (stampIs(stamp, wanted)) return;
  await withLock(join(buildDir, ".npm.lock"), "node packages", async () => {
    if (stampIs(stamp, wanted)) return;
    await step("node packages (npm ci)", (progress) =>
      logged("npm-ci", "npm", ["ci", "--include=dev"], { progress }),
    );
    writeStamp(stamp, wanted);
  });
}
