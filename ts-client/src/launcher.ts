#!/usr/bin/env node
/**
 * The command's first file. It runs the others with the compiled code that an earlier run of the same verb has left:
 * compiling took a third of a short command's time. Node 22 can do this by itself, Node 20 cannot.
 */
import { mkdirSync, readFileSync, renameSync, statSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import path from "node:path";
import { constants, Script } from "node:vm";
import { packageVersion } from "./version.js";

const here = import.meta.dirname;
const own = createRequire(import.meta.url);
const verb = process.argv.slice(2).find((word) => /^[a-z]+$/.test(word)) ?? "none";
/** What one version of V8 has compiled another one refuses, and each verb needs functions of its own. */
const kept = path.join(here, "compiled", `${process.version}-${process.arch}`, verb);
const loaded = new Map<string, { exports: unknown }>();
const fresh = new Map<string, Script>();

/** A file of the bundle, as `require` would load it. */
function load(name: string): unknown {
  const known = loaded.get(name);
  if (known) return known.exports;
  const module = { exports: {} };
  loaded.set(name, module);
  const file = path.join(here, name);
  const need = (id: string) => (id.startsWith("./") ? load(id) : own(id));
  compiled(file).runInThisContext()(module.exports, need, module, file, here);
  return module.exports;
}

function compiled(file: string): Script {
  // Named after the file's time and size, so that a process which outlives a build leaves nothing for the new files.
  const { mtimeMs, size } = statSync(file);
  const place = path.join(kept, `${path.basename(file)}-${mtimeMs}-${size}`);
  const cachedData = read(place);
  const source = `(function (exports, require, module, __filename, __dirname) { ${readFileSync(file, "utf8")}\n})`;
  const importModuleDynamically = constants.USE_MAIN_CONTEXT_DEFAULT_LOADER;
  const script = new Script(source, { filename: file, cachedData, importModuleDynamically });
  if (cachedData === undefined || script.cachedDataRejected) fresh.set(place, script);
  return script;
}

function read(file: string): Buffer | undefined {
  try {
    return readFileSync(file);
  } catch {
    return undefined;
  }
}

/** After a run that went well, since it has used what the next one will use. Where nothing can be written, all is compiled again. */
function keep(): void {
  try {
    mkdirSync(kept, { recursive: true });
    for (const [place, script] of fresh) {
      writeFileSync(`${place}.${process.pid}`, script.createCachedData());
      renameSync(`${place}.${process.pid}`, place);
    }
  } catch {}
}

const [only, ...more] = process.argv.slice(2);
if (more.length === 0 && (only === "--version" || only === "-V")) {
  // Nothing else is needed for it, and all else takes half as long again as Node's own start.
  console.log(packageVersion());
} else if (verb === "console") {
  // Its packages are ES modules alone, which code that was kept cannot import.
  void import("./cli.js");
} else {
  process.on("exit", (code) => code === 0 && fresh.size > 0 && keep());
  load("./main.cjs");
}
