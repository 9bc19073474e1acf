// Finds the Python that everything else is built for, and one of each version that wheels are made for.
import { existsSync, readdirSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";
import { probe } from "./exec.mjs";
import { SetupError } from "./ui.mjs";

/**
 * @typedef {{ path: string, version: string, minor: number, venv: boolean, headers: boolean }} Python
 */

const CANDIDATES = ["python3", "python3.12", "python3.13", "python3.11", "python3.10"];
const OLDEST = 10;
const NEWEST = 13;
/** vLLM 0.33 and SGLang 0.5.23 themselves ask for this. */
export const OLDEST_FOR_ENGINE = 11;
/** @typedef {"engine" | "sglang"} Engine an environment with an engine in it */
const ENGINES = { engine: "vLLM 0.33.0", sglang: "SGLang 0.5.23" };

const QUESTION = `
import importlib.util as u, json, os, sys, sysconfig as s
print(json.dumps(dict(path=sys.executable, version="%d.%d.%d" % sys.version_info[:3], minor=sys.version_info[1],
  major=sys.version_info[0], venv=bool(u.find_spec("venv") and u.find_spec("ensurepip")),
  headers=os.path.exists(os.path.join(s.get_path("include"), "Python.h")))))`;

/** @param {string} command @returns {Promise<(Python & { major: number }) | null>} */
async function examine(command) {
  const answer = await probe(command, ["-c", QUESTION]);
  return answer === null ? null : JSON.parse(answer);
}

/** @param {Python} python what is missing from it, as a package to install, or null */
function missing(python) {
  if (!python.venv) return `python3.${python.minor}-venv`;
  return python.headers ? null : `python3.${python.minor}-dev`;
}

/** @param {(Python & { major: number })[]} found */
function explain(found) {
  const inRange = found.find(
    (python) => python.major === 3 && python.minor >= OLDEST && python.minor <= NEWEST,
  );
  if (inRange === undefined) {
    const seen = found.map((python) => python.version).join(", ") || "none";
    return `needs Python 3.10 to 3.13 with venv and headers, found: ${seen}; on Debian or Ubuntu: sudo apt install python3 python3-venv python3-dev`;
  }
  return `${inRange.path} (Python ${inRange.version}) lacks its ${missing(inRange)} part; on Debian or Ubuntu: sudo apt install ${missing(inRange)}`;
}

/** @param {Python & { major: number }} python */
function isUsable(python) {
  const inRange = python.major === 3 && python.minor >= OLDEST && python.minor <= NEWEST;
  return inRange && missing(python) === null;
}

/** Interpreters that pyenv has installed, which need not be on PATH. */
function ofPyenv() {
  const folder = join(process.env.PYENV_ROOT || join(homedir(), ".pyenv"), "versions");
  const versions = existsSync(folder) ? readdirSync(folder).sort() : [];
  return versions.map((version) => join(folder, version, "bin/python3"));
}

/** The minor versions of Python 3 that the package is made for. */
export const MINORS = Array.from({ length: NEWEST - OLDEST + 1 }, (_, index) => OLDEST + index);

/**
 * One Python of each minor version that this machine has with headers, oldest first; `first` stands for its own.
 * @param {Python} first @returns {Promise<Python[]>}
 */
export async function everyPython(first) {
  const commands = [...MINORS.map((minor) => `python3.${minor}`), ...ofPyenv()];
  const answers = await Promise.all(commands.map(examine));
  const found = [first, ...answers.filter((python) => python !== null && isUsable(python))];
  return MINORS.flatMap((minor) => found.find((python) => python?.minor === minor) ?? []);
}

/** OPSWAP_PYTHON when set; else the first on PATH that can also run the engine, else any that can build. */
export async function findPython() {
  const chosen = process.env.OPSWAP_PYTHON;
  const commands = chosen ? [chosen] : CANDIDATES;
  const found = (await Promise.all(commands.map(examine))).filter((python) => python !== null);
  const usable = found.filter(isUsable);
  const best = usable.find((python) => python.minor >= OLDEST_FOR_ENGINE) ?? usable[0];
  if (best === undefined) throw new SetupError(explain(found));
  return best;
}

/** @param {Python} python @param {Engine} [name] the reason why it cannot run that engine, or null */
export function engineObstacle(python, name = "engine") {
  if (python.minor >= OLDEST_FOR_ENGINE) return null;
  return `${ENGINES[name]} needs Python 3.11 to 3.13 and only ${python.version} was found; on Debian or Ubuntu: sudo apt install python3.11 python3.11-venv python3.11-dev`;
}
