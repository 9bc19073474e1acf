// dist/: the command line, and the modules that others import. Each is few files, since Node takes longer to find and
// read a hundred small ones than to run them. Types are checked by `npm run check`.
import { fileURLToPath } from "node:url";
import { defineConfig } from "rolldown";

/** @param {string} file */
const source = (file) => fileURLToPath(new URL(`ts-client/src/${file}`, import.meta.url));

// ZeroMQ looks for its addon beside its own files; the console's packages are read when it is opened.
export const external = ["zeromq", "ink", "react", "react/jsx-runtime"];

/** commander starts programs of other files, which we have none of; Node's part for that takes longer to load than it. */
const noPrograms = {
  name: "no-programs",
  /** @param {string} id @param {string | undefined} importer */
  resolveId: (id, importer) =>
    id === "node:child_process" && importer?.includes("/commander/") ? "no-programs" : null,
  /** @param {string} id */
  load: (id) =>
    id === "no-programs"
      ? 'exports.spawn = (...args) => require("node:child_process").spawn(...args);'
      : null,
};

const shared = {
  platform: /** @type {const} */ ("node"),
  tsconfig: fileURLToPath(new URL("tsconfig.json", import.meta.url)),
  plugins: [noPrograms],
};

/** Modules as others import them, and the whole command line once more, for the console: ink is ESM alone. */
const modules = defineConfig({
  ...shared,
  external,
  input: {
    cli: source("run.ts"),
    native: source("native.ts"),
    "pool-worker": source("convert/run/pool-worker.ts"),
    "client/index": source("client/index.ts"),
    "convert/index": source("convert/index.ts"),
    "experiments/index": source("experiments/index.ts"),
    "convert/formats/index": source("convert/formats/index.ts"),
    "demo/index": source("demo/index.ts"),
  },
  output: { dir: "dist", cleanDir: true, chunkFileNames: "[name].js", sourcemap: true },
});

/** What every verb needs, in one file. */
const CORE =
  /node_modules\/(commander|msgpackr)\/|src\/(types\/|client\/(?!local|args|standing|switch-everywhere)|generated\/messages|version|native\.|view\/(format|error-lines)|commands\/(context|errors)\.)/;

/** The command line as scripts, whose compiled code the launcher can keep. */
const commandLine = defineConfig({
  ...shared,
  external: [...external, /console\/index\.js$/],
  input: { main: source("run.ts") },
  output: {
    dir: "dist",
    format: "cjs",
    entryFileNames: "[name].cjs",
    chunkFileNames: "[name].cjs",
    codeSplitting: { groups: [{ name: "core", test: CORE }] },
    sourcemap: true,
  },
});

const launcher = defineConfig({
  ...shared,
  external: ["./cli.js"],
  input: { opswap: source("launcher.ts") },
  output: { dir: "dist", format: "cjs", entryFileNames: "[name].cjs", sourcemap: true },
});

export default [modules, commandLine, launcher];
