/** The package's version. */
import { readFileSync } from "node:fs";

const packages = ["../package.json", "../../package.json"];

/** The version in package.json, seen from dist/ or from ts-client/src/. */
export function packageVersion(): string {
  for (const place of packages) {
    try {
      return JSON.parse(readFileSync(new URL(place, import.meta.url), "utf8")).version;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error;
    }
  }
  throw new Error(`no package.json at ${packages.join(" or ")}`);
}
