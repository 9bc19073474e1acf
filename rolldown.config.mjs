// dist/: the command line, and the modules that others import. Each verb needs a few files, since Node takes longer to
// find and read a hundred small ones than to run them. Types are checked by `npm run check`.
import { fileURLToPath } from "node:url";
import { defineConfig } from "rolldown";

/** @param {string} file */
const source = (file) => fileURLToPath(new URL(`ts-client/src/${file}`, import.meta.url));

export default defineConfig({
  input: {
    cli: source("cli.ts"),
    native: source("native.ts"),
    "pool-worker": source("convert/pool-worker.ts"),
    "client/index": source("client/index.ts"),
    "convert/index": source("convert/index.ts"),
    "convert/formats/index": source("convert/formats/index.ts"),
    "demo/index": source("demo/index.ts"),
  },
  platform: "node",
  tsconfig: fileURLToPath(new URL("tsconfig.json", import.meta.url)),
  // ZeroMQ looks for its addon beside its own files; the console's packages are read when it is opened.
  external: ["zeromq", "ink", "react", "react/jsx-runtime"],
  output: { dir: "dist", cleanDir: true, chunkFileNames: "[name].js", sourcemap: true },
});
