/** The engines that a Python has, and what is known of their versions, for `opswap doctor` where none runs. */
import { execFileSync } from "node:child_process";
import * as z from "zod/mini";
import { ENGINES, type EngineVersion } from "../generated/compat.js";
import type { Check } from "../generated/messages.js";

/** Asks for metadata alone: nothing of an engine is imported. */
const QUESTION = `import json, sys
from importlib import metadata
found = {}
for name in sys.argv[1:]:
    try:
        found[name] = metadata.version(name)
    except metadata.PackageNotFoundError:
        pass
print(json.dumps(found))`;
const ANSWER = z.record(z.string(), z.string());
const PATIENCE_MS = 20_000;
/** What to do where no version was run: the counters prove it. */
const LOOK = "send a request, and see by `opswap ops` whether the counters rise";

/** Versions by package. Throws when the Python cannot be asked. */
export function installedEngines(python: string): Record<string, string> {
  const words = ["-c", QUESTION, ...ENGINES.map((each) => each.package)];
  const told = execFileSync(python, words, { encoding: "utf8", timeout: PATIENCE_MS, stdio: "pipe" });
  return ANSWER.parse(JSON.parse(told));
}

/** One check for each engine that is installed; `accepted` is what the user lets start all the same. */
export function versionChecks(
  installed: Readonly<Record<string, string>>,
  engines = ENGINES,
  accepted = process.env.OPSWAP_ACCEPT_VERSION ?? "",
): Check[] {
  return engines.flatMap((engine) => {
    const version = installed[engine.package];
    if (version === undefined) return [];
    const known = knownOf(version, engine.versions);
    const best = (["tested", "expected"] as const)
      .map((status) => engine.versions.find((row) => row.status === status)?.version)
      .find(Boolean);
    const remedy = best === known?.version ? LOOK : `pip install ${engine.package}==${best}`;
    const found = judged(`${engine.engine} ${version}`, known, remedy);
    const starts = accepted.split(",").some((named) => named.trim() === `${engine.package}==${version}`);
    const state = found.state === "fail" && starts ? "warn" : found.state;
    return [{ name: engine.package, ...found, state }];
  });
}

/** The row that says most exactly which: 0.33.0 means 0.33.0.post1 and 0.33.0+cpu too, and 1.2 means 1.2.1. */
function knownOf(version: string, rows: readonly EngineVersion[]): EngineVersion | undefined {
  const theirs = release(version);
  const fitting = rows.filter((row) => release(row.version).every((part, at) => part === (theirs[at] ?? 0)));
  return fitting.sort((a, b) => release(b.version).length - release(a.version).length)[0];
}

function release(version: string): number[] {
  return (/^\d+(?:\.\d+)*/.exec(version)?.[0] ?? "-1").split(".").map(Number);
}

function judged(called: string, row: EngineVersion | undefined, remedy: string): Omit<Check, "name"> {
  if (row === undefined) return { state: "fail", message: `${called} was never looked at`, remedy };
  const known = `${called} is ${row.status}`;
  if (row.status === "tested") return { state: "ok", message: `${known} [${row.evidence}]`, remedy: "" };
  if (row.status === "expected")
    return { state: "warn", message: `${known} to work and was not run [${row.evidence}]`, remedy };
  return { state: "fail", message: `${known}: ${row.broken} [${row.evidence}]`, remedy: row.remedy };
}
