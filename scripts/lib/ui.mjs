// What set-up says: one line a step, with its time, and one line for what is missing.

/** A problem that the person at the keyboard can mend: printed as its message, never as a stack. */
export class SetupError extends Error {}

const live = process.stderr.isTTY === true && !process.env.CI;

/** @param {string} text */
export function say(text) {
  process.stderr.write(`${text}\n`);
}

/** @param {number} ms */
export function seconds(ms) {
  return ms < 10_000 ? `${(ms / 1000).toFixed(1)} s` : `${Math.round(ms / 1000)} s`;
}

/** How far it is, where the log says so as ninja does. @param {string} line */
function countOf(line) {
  const [, done, all] = /^\[(\d+)\/(\d+)\]/.exec(line) ?? [];
  return done === undefined ? "" : `, ${done} of ${all}`;
}

/** Shows that a step is running: a live line on a terminal, a line every half minute elsewhere. */
class Progress {
  /** @param {string} label */
  constructor(label) {
    this.label = label;
    this.detail = "";
    this.started = Date.now();
    if (!live) say(`  ${label} ...`);
    this.timer = setInterval(() => this.tick(), live ? 200 : 30_000);
    this.timer.unref();
  }

  /** @param {string} text the newest line of the step's log */
  note(text) {
    this.detail = text;
  }

  tick() {
    const elapsed = seconds(Date.now() - this.started);
    if (!live) return say(`  ${this.label} ... ${elapsed} so far${countOf(this.detail)}`);
    const line = `  ${this.label} ... ${elapsed}  ${this.detail}`;
    process.stderr.write(`\r\x1b[2K${line.slice(0, (process.stderr.columns || 80) - 1)}`);
  }

  /** @param {string} outcome */
  end(outcome) {
    clearInterval(this.timer);
    if (live) process.stderr.write("\r\x1b[2K");
    say(`  ${this.label}: ${outcome} (${seconds(Date.now() - this.started)})`);
  }
}

/**
 * Runs one step of the set-up and says how it ended.
 * @template T
 * @param {string} label
 * @param {(progress: Progress) => Promise<T>} work
 */
export async function step(label, work) {
  const progress = new Progress(label);
  try {
    const value = await work(progress);
    progress.end("done");
    return value;
  } catch (error) {
    progress.end("failed");
    throw error;
  }
}

/** @type {[NodeJS.Signals, number][]} */
const SIGNALS = [
  ["SIGINT", 130],
  ["SIGTERM", 143],
];

/**
 * Exit listeners end children and give locks back, and a signal alone would not run them. A part that listens for the
 * signal too ends in its own way.
 * @param {NodeJS.Signals} signal
 * @param {number} code
 */
function leave(signal, code) {
  if (process.listenerCount(signal) === 1) process.exit(code);
}

/**
 * Runs a script's main function; a SetupError is one line and exit code 1.
 * @param {() => Promise<number | void>} main
 */
export async function runMain(main) {
  for (const [signal, code] of SIGNALS) process.on(signal, () => leave(signal, code));
  try {
    process.exitCode = (await main()) ?? 0;
  } catch (error) {
    if (!(error instanceof SetupError)) throw error;
    say(`opswap: ${error.message}`);
    process.exitCode = 1;
  }
}
