/** Finds the file of the native addon, and says what to do where there is none or it cannot be loaded. */
import { existsSync } from "node:fs";
import { createRequire } from "node:module";
import path from "node:path";
import { inCheckout, ROOT } from "./installation.js";
import { OpswapError } from "./types/errors.js";
import { packageVersion } from "./version.js";

/** Addon and library for the one platform that has a package. */
const NATIVE_PACKAGE = "@opswap/native-linux-x64";

/** What a package of native code is chosen by. */
export interface Host {
  platform: string;
  arch: string;
  /** Version of the GNU C library; undefined where another one runs this process. */
  glibc: string | undefined;
}

/** OPSWAP_NODE alone when it is set; else the build folder in a checkout, and the package of native code elsewhere. */
export function addonFile(env: NodeJS.ProcessEnv = process.env, root = ROOT): string {
  const place =
    env.OPSWAP_NODE || (inCheckout(root) ? path.join(root, "build/native/opswap.node") : undefined);
  if (place === undefined) return fromPackage(root);
  const file = path.resolve(place);
  if (existsSync(file)) return file;
  throw missing(`no addon at ${file}`, remedy(env, root));
}

function fromPackage(root: string): string {
  try {
    return createRequire(path.join(root, "package.json")).resolve(`${NATIVE_PACKAGE}/opswap.node`);
  } catch (cause) {
    const host = thisHost();
    throw missing(`${NATIVE_PACKAGE} is not installed`, otherPlatform(host) ?? howToInstall(root), cause);
  }
}

function missing(message: string, remedy: string, cause?: unknown): OpswapError {
  return new OpswapError("OPSWAP_E_NATIVE", message, { remedy, cause });
}

/** The report takes milliseconds, so it is asked only where something is wrong. */
function thisHost(): Host {
  const { platform, arch } = process;
  const { header } = process.report.getReport() as { header?: { glibcVersionRuntime?: string } };
  return { platform, arch, glibc: header?.glibcVersionRuntime };
}

/** Why no package of native code fits this machine; undefined where one does. */
export function otherPlatform({ platform, arch, glibc }: Host): string | undefined {
  const without = "without it opswap talks to engines and sidecars, and has no --local and no conversions";
  if (platform !== "linux")
    return `native code exists for Linux alone, and this is ${platform}: use a Linux machine`;
  if (arch !== "x64") return `native code exists for linux-x64 alone, and this is linux-${arch}; ${without}`;
  if (glibc === undefined)
    return `native code exists for the GNU C library alone, and this Node runs on another, such as musl; ${without}`;
  return undefined;
}

/** Of a whole installation, in which all is of one version. */
export function howToInstall(root = ROOT): string {
  if (inCheckout(root)) return "run `npm run build`";
  const version = packageVersion();
  return `install both packages together, without --omit=optional: npm install ./opswap-${version}.tgz ./opswap-native-linux-x64-${version}.tgz`;
}

/** That does not help where the setting names another file. */
function remedy(env: NodeJS.ProcessEnv, root = ROOT): string {
  const anew = howToInstall(root);
  return env.OPSWAP_NODE ? `set OPSWAP_NODE to an opswap.node that is built, or unset it and ${anew}` : anew;
}

/** The loader's own words, and what to do about them. */
export function cannotLoad(file: string, cause: Error, host: () => Host = thisHost): OpswapError {
  const older = /version `((?:GLIBC|GLIBCXX|CXXABI)_[\d.]+)' not found/.exec(cause.message)?.[1];
  const advice = older
    ? `this system's libraries are older than ${older}, which the package needs: use a newer system, or build opswap from its sources`
    : (otherPlatform(host()) ?? remedy(process.env));
  return missing(`${file} cannot be loaded: ${cause.message}`, advice, cause);
}
