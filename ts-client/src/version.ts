/** The package's version. */
import { readFileSync } from "node:fs";
import path from "node:path";
import { ROOT } from "./installation.js";

let known: string | undefined;

/** The version in package.json. */
export function packageVersion(): string {
  known ??= JSON.parse(readFileSync(path.join(ROOT, "package.json"), "utf8")).version as string;
  return known;
}
