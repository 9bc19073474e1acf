/** Where this code lies: in a checkout, or in a package that npm installed. */
import { existsSync } from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";

/** The folder of opswap's package.json, above dist/ or ts-client/src/. */
export const ROOT = above(path.dirname(fileURLToPath(import.meta.url)));

function above(folder: string): string {
  if (existsSync(path.join(folder, "package.json"))) return folder;
  const parent = path.dirname(folder);
  if (parent === folder) throw new Error(`no package.json above ${import.meta.url}`);
  return above(parent);
}

/** Only a checkout can be built, so what a refusal advises differs. */
export function inCheckout(root = ROOT): boolean {
  return existsSync(path.join(root, "native", "CMakeLists.txt"));
}
