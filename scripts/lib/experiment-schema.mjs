// docs/experiment.schema.json, made from what the client takes: `--check` compares, otherwise it is written.
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { root } from "./paths.mjs";

const { jsonSchema } = await import(pathToFileURL(join(root, "dist/experiments/index.js")).href);
const file = join(root, "docs/experiment.schema.json");
const text = `${JSON.stringify(jsonSchema(), null, 2)}\n`;
if (process.argv.includes("--check")) {
  const isFresh = existsSync(file) && readFileSync(file, "utf8") === text;
  if (!isFresh)
    console.error("docs/experiment.schema.json is not what ts-client/src/experiments/spec declares");
  process.exitCode = isFresh ? 0 : 1;
} else writeFileSync(file, text);
