// Where things are: the checkout, its build folders, and the cache that clones share.
import { homedir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";

export const root = resolve(dirname(fileURLToPath(import.meta.url)), "../..");
export const buildDir = join(root, "build");
export const nativeDir = join(buildDir, "native");
/** CMake's folder of what is then in `nativeDir`. */
export const nativeWork = join(buildDir, "native-work");
export const pythonDir = join(buildDir, "python");
/** What is given to users: wheels, tarballs, bill of materials, checksums. */
export const packagesDir = join(buildDir, "packages");
export const logDir = join(buildDir, "logs");
export const distDir = join(root, "dist");

/** OPSWAP_CACHE wins, then the XDG cache folder; environments and models live below it. */
export function cacheDir() {
  const xdg = process.env.XDG_CACHE_HOME || join(homedir(), ".cache");
  return resolve(process.env.OPSWAP_CACHE || join(xdg, "opswap"));
}
