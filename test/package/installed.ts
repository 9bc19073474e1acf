/** For tests of the npm tarballs: installs them into an empty folder with a new home, and runs what is there. */
import { execFileSync, spawnSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";

export const root = path.resolve(import.meta.dirname, "../..");
const PACKAGES = process.env.OPSWAP_PACKAGES ?? path.join(root, "build/packages");
export const NATIVE = "@opswap/native-linux-x64";

/** The tarballs that `npm run package` made. */
export const TARBALLS = {
  main: tarball(/^opswap-\d.*\.tgz$/),
  native: tarball(/^opswap-native-linux-x64-\d.*\.tgz$/),
};

function tarball(name: RegExp): string {
  const found = existsSync(PACKAGES) ? readdirSync(PACKAGES).filter((file) => name.test(file)) : [];
  const [only] = found;
  if (only === undefined || found.length > 1)
    throw new Error(`${PACKAGES} needs one tarball, has ${found}: npm run package`);
  return path.join(PACKAGES, only);
}

export interface Ran {
  code: number | null;
  out: string;
  err: string;
}

/** What is on PATH: no compiler, no Python. `npx` and `npm` start a shell. */
const PROGRAMS = ["node", "npm", "npx", "sh"];

/** Node is the one that runs the tests; npm is the machine's. */
function programOf(name: string): string {
  if (name === "node") return process.execPath;
  return execFileSync("/bin/sh", ["-c", `command -v ${name}`], { encoding: "utf8" }).trim();
}

/** What a machine needs to reach its registry: certificates of its own, a proxy, npm's settings. */
const OF_THE_NETWORK =
  /^(NODE_EXTRA_CA_CERTS|SSL_CERT_FILE|SSL_CERT_DIR|(https?|no)_proxy|npm_config_(registry|cafile))$/i;

/** The registry's settings and cache of the machine: what is installed beside ours comes from there. */
function npmSettings(): NodeJS.ProcessEnv {
  const config = (key: string) => execFileSync("npm", ["config", "get", key], { encoding: "utf8" }).trim();
  const network = Object.entries(process.env).filter(([name]) => OF_THE_NETWORK.test(name));
  return {
    ...Object.fromEntries(network),
    npm_config_cache: config("cache"),
    npm_config_userconfig: config("userconfig"),
    npm_config_prefer_offline: "true",
    // An optional package that nobody can fetch is asked for once.
    npm_config_fetch_retries: "0",
    npm_config_update_notifier: "false",
  };
}

/** An empty folder, a new home and a runtime folder, with nothing of the checkout in the environment. */
export class Place {
  readonly #top = mkdtempSync(path.join(tmpdir(), "on"));
  readonly app = path.join(this.#top, "app");
  readonly home = path.join(this.#top, "home");
  readonly env: NodeJS.ProcessEnv;

  constructor() {
    const bin = path.join(this.#top, "bin");
    const runtime = path.join(this.#top, "run");
    for (const folder of [this.app, this.home, bin, runtime]) mkdirSync(folder, { mode: 0o700 });
    for (const name of PROGRAMS) symlinkSync(programOf(name), path.join(bin, name));
    this.env = { PATH: bin, HOME: this.home, OPSWAP_RUNTIME_DIR: runtime, ...npmSettings() };
    writeFileSync(path.join(this.app, "package.json"), '{ "type": "module", "private": true }\n');
  }

  run(command: string, args: readonly string[], more: NodeJS.ProcessEnv = {}): Ran {
    const env = { ...this.env, ...more };
    const ran = spawnSync(command, args, { cwd: this.app, env, encoding: "utf8" });
    return { code: ran.status, out: ran.stdout, err: ran.error ? ran.error.message : ran.stderr };
  }

  npm(...args: string[]): Ran {
    return this.run("npm", args);
  }

  /** Without install scripts: nothing is compiled, and nothing fetched beside the registry's packages. */
  install(...tarballs: string[]): void {
    const { code, err } = this.npm("install", "--ignore-scripts", ...tarballs);
    if (code !== 0) throw new Error(err);
  }

  /** The command, as npx starts it. */
  opswap(args: readonly string[], more: NodeJS.ProcessEnv = {}): Ran {
    return this.run("node", [this.file("opswap", "dist/opswap.cjs"), ...args], more);
  }

  /** A module of the user's, run. */
  module(text: string, more: NodeJS.ProcessEnv = {}): Ran {
    return this.run("node", ["--input-type=module", "-e", text], more);
  }

  file(...parts: string[]): string {
    return path.join(this.app, "node_modules", ...parts);
  }

  remove(): void {
    rmSync(this.#top, { recursive: true, force: true });
  }
}
