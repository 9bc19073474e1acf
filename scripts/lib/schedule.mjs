// Runs suites side by side, as many as cores and memory allow, and prints each one's output whole when it has ended.
import { closeSync, mkdirSync, openSync, readFileSync } from "node:fs";
import { availableParallelism, freemem } from "node:os";
import { join } from "node:path";
import { logDir } from "./paths.mjs";
import { SetupError, say } from "./ui.mjs";

/** @typedef {import("./suites.mjs").Suite} Suite */
/** @typedef {import("./setup.mjs").Workshop} Workshop */
/** @typedef {import("./results.mjs").Results} Results */
/** @typedef {{ name: string, results: Results, setUpMs: number, runMs: number }} Outcome */

const GB = 1024 ** 3;
/** What the rest of the machine, the builds of set-ups among it, is left. */
const RESERVED_GB = 4;
const MOST_AT_A_TIME = 4;

/** Memory in units of suites' `gb`; a suite that needs more than there is runs alone. */
class Memory {
  #free = Math.max(0, freemem() / GB - RESERVED_GB);
  #running = 0;

  /** @param {Suite} suite */
  take({ gb }) {
    if (this.#running > 0 && gb > this.#free) return false;
    this.#free -= gb;
    this.#running += 1;
    return true;
  }

  /** @param {Suite} suite */
  give({ gb }) {
    this.#free += gb;
    this.#running -= 1;
  }
}

/** @param {unknown} error @param {string} name @returns {Results} a suite that cannot be prepared is one failure */
function broken(error, name) {
  if (!(error instanceof SetupError)) throw error;
  say(`opswap: ${name}: ${error.message}`);
  return { passed: 0, failed: [`${name}: set-up`], skipped: [] };
}

/** @param {Suite} suite @param {string | NodeJS.ProcessEnv} needs @param {Workshop} workshop @param {number} fd @returns {Promise<Results>} */
async function runPrepared(suite, needs, workshop, fd) {
  if (typeof needs !== "string") return suite.run(workshop, needs, { fd });
  return { passed: 0, failed: [], skipped: [{ name: suite.name, reason: needs }] };
}

/** @param {Suite} suite @param {Workshop} workshop @returns {Promise<Outcome>} */
async function runSuite(suite, workshop) {
  mkdirSync(logDir, { recursive: true });
  const file = join(logDir, `suite-${suite.name.replaceAll(/\W+/g, "-")}.log`);
  const fd = openSync(file, "w");
  const began = Date.now();
  let prepared = began;
  say(`  ${suite.name}: begins`);
  try {
    const needs = await suite.setUp(workshop);
    prepared = Date.now();
    const results = await runPrepared(suite, needs, workshop, fd);
    return { name: suite.name, results, setUpMs: prepared - began, runMs: Date.now() - prepared };
  } catch (error) {
    const results = broken(error, suite.name);
    return { name: suite.name, results, setUpMs: Date.now() - began, runMs: 0 };
  } finally {
    closeSync(fd);
    say(`\n== ${suite.name}\n${readFileSync(file, "utf8").trimEnd()}`);
  }
}

/**
 * @param {Suite[]} suites in the order in which they begin
 * @param {Workshop} workshop
 * @returns {Promise<Outcome[]>} in the same order
 */
export async function sideBySide(suites, workshop) {
  const waiting = suites.map((suite, index) => ({ suite, index }));
  const memory = new Memory();
  /** @type {Outcome[]} */
  const outcomes = [];
  /** @type {(() => void)[]} */
  const sleepers = [];
  async function worker() {
    while (waiting.length > 0) {
      const next = waiting.findIndex(({ suite }) => memory.take(suite));
      if (next < 0) {
        await new Promise((wake) => sleepers.push(() => wake(undefined)));
        continue;
      }
      const [{ suite, index }] = /** @type {[typeof waiting[0]]} */ (waiting.splice(next, 1));
      outcomes[index] = await runSuite(suite, workshop);
      memory.give(suite);
      for (const wake of sleepers.splice(0)) wake();
    }
  }
  await Promise.all(Array.from({ length: Math.min(MOST_AT_A_TIME, availableParallelism()) }, worker));
  return outcomes;
}
