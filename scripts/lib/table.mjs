// The table of suites that `npm test` ends with: set-up (environments, builds) and run apart, in seconds.

/** @typedef {import("./schedule.mjs").Outcome} Outcome */

/** @param {number} ms */
const seconds = (ms) => String(Math.round(ms / 1000));

/** @param {Outcome} outcome */
function row({ name, results, setUpMs, runMs }) {
  const count = results.passed + results.failed.length + results.skipped.length;
  return [name, String(count), seconds(setUpMs), seconds(runMs)];
}

/**
 * @param {number} buildMs of environments, library and packages
 * @param {Outcome[]} outcomes
 * @param {number} wholeMs
 * @returns {string}
 */
export function table(buildMs, outcomes, wholeMs) {
  const rows = [
    ["suite", "tests", "set-up s", "run s"],
    ["environments and build", "", seconds(buildMs), ""],
    ...outcomes.map(row),
    ["all, side by side", "", "", seconds(wholeMs)],
  ];
  const widths = [0, 1, 2, 3].map((column) => Math.max(...rows.map((cells) => cells[column]?.length ?? 0)));
  return rows
    .map((cells) =>
      cells
        .map((cell, i) => (i === 0 ? cell.padEnd(widths[i] ?? 0) : cell.padStart(widths[i] ?? 0)))
        .join("  "),
    )
    .join("\n");
}
