/** What `opswap bisect` prints. */
import type { ReplayedArm } from "../view/replay-lines.js";
import { table } from "../view/table.js";
import type { Bisected, Guilty } from "./bisect.js";
import type { Located, SeenCall } from "./calls.js";
import type { Apart, Divergence } from "./compare.js";
import type { Ops } from "./tested-ops.js";

/** A recorded call that ran here on both; why it did not where `arms` is empty. */
export interface Replayed {
  arms: ReplayedArm[];
  reason: string | null;
}

export interface Report extends Bisected, Ops {
  engine: string;
  against: string;
  tolerance: number;
  located: (Located & { now: string; replayed: Replayed | null })[];
}

export function bisectLines(report: Report): string[] {
  const { guilty, tested, against, replays, floor } = report;
  return [
    ...(guilty.length === 0 ? [stillLine(report)] : guilty.flatMap((one, i) => guiltyLines(report, one, i))),
    `${tested.length} ops tested, ${replaysText(replays)}; the same twice differs by ${nats(floor.distance)}`,
    ...untestedLines(report),
    ...(guilty.length === 0 ? [] : report.located.flatMap((one) => ["", ...locatedLines(one, against)])),
    `what ran before runs again on ${report.engine}, and answers as before`,
  ];
}

function replaysText({ total, untilNamed }: Report["replays"]): string {
  return untilNamed === 0 ? `${total} replay` : `named after ${untilNamed} replays, ${total} in all`;
}

function stillLine({ whole, tested, against, tolerance }: Report): string {
  const ops = `${tested.length} tested ops`;
  return `no op moves the output: with all ${ops} on ${against} it differs by ${nats(whole.distance)}, tolerance ${tolerance}`;
}

function guiltyLines(report: Report, { ops, on, alone, without }: Guilty, i: number): string[] {
  const { against, whole } = report;
  const names = ops.join(" and ");
  const as = on === "yardstick" ? "is as" : "moves, and is not as";
  const head = `${i === 0 ? "" : "or "}${names}: on ${against} the output ${as} with all on ${against} (${nats(whole.distance)} from now)`;
  const each = ops.map((op) => {
    const effect = alone[op];
    if (effect === undefined) return `  ${op}`;
    const moves = effect.outcome === "now" ? "moves nothing" : "moves the output";
    return `  ${op} alone ${moves}: by ${nats(effect.distance)}; ${divergenceText(effect, against)}`;
  });
  const together = ops.length > 1 && ops.every((op) => alone[op]?.outcome === "now");
  return [head, ...each, ...(together ? ["  they act only together"] : []), ...withoutLines(without, names)];
}

function withoutLines(without: Guilty["without"], names: string): string[] {
  if (without === "now") return [];
  if (without === "yardstick")
    return [`  the fault needs another op too: with ${names} as now it is gone as well, see below`];
  return [`  with ${names} as now, others on the yardstick move the output as well`];
}

function divergenceText({ distance, divergence }: Apart, against: string): string {
  if (divergence === null) return distance === Infinity ? "one of both gave no answer" : "no token differs";
  const { index, now, other } = divergence;
  const text = (one: Divergence["now"]) =>
    one === null ? "the end" : `${JSON.stringify(one.token)} (${nats(one.logprob)})`;
  return `first other token at ${index}: ${text(now)} now, ${text(other)} with ${against}`;
}

function untestedLines({ untested }: Report): string[] {
  return untested.length === 0
    ? []
    : ["not tested:", ...untested.map(({ op, reason }) => `  ${op}: ${reason}`)];
}

const right = true;
const BUCKETS = [
  { head: "BUCKET" },
  { head: "CALLS", right },
  { head: "WRONG", right },
  { head: "WORST", right },
];

function locatedLines(located: Report["located"][number], against: string): string[] {
  const { op, now, compared, wrong, buckets, worst, recorded, notes } = located;
  const rows = buckets.map((one) => [one.bucket, `${one.compared}`, `${one.wrong}`, times(one.worst)]);
  return [
    `${op}: ${now} against ${against} on ${compared} calls of the engine, ${wrong} beyond the op's tolerance`,
    ...(rows.length === 0 ? [] : table(BUCKETS, rows)),
    ...(worst === null ? [] : [`  worst: ${callText(worst)}`]),
    ...(recorded === null ? [] : [`  ${inputOf(worst, recorded)}: ${recorded.file}`]),
    ...replayedLines(located),
    ...notes.map((note) => `  ${note}`),
  ];
}

/** Not each call is kept, so the one that is furthest off may be missing. */
function inputOf(worst: SeenCall | null, recorded: SeenCall): string {
  const isWorst =
    recorded.rank === worst?.rank && recorded.step === worst.step && recorded.layer === worst.layer;
  return isWorst ? "its input" : `the worst with its input kept: ${callText(recorded)}`;
}

function callText({ rank, step, layer, bucket, outside, elements, worst }: SeenCall): string {
  return `call ${layer} of step ${step}, rank ${rank}, ${bucket}: ${outside} of ${elements} elements outside, ${times(worst)} of the tolerance`;
}

function replayedLines({ replayed }: Report["located"][number]): string[] {
  if (replayed === null) return [];
  if (replayed.reason !== null) return [`  not replayed in this process: ${replayed.reason}`];
  return replayed.arms.map(
    ({ output, outside, elements }) =>
      `  replayed in this process: ${outside} of ${elements} elements of ${output} outside`,
  );
}

const nats = (value: number) => (Number.isFinite(value) ? value.toFixed(3) : "beyond all numbers");
const times = (value: number) => (Number.isFinite(value) ? `${value.toPrecision(3)}x` : "not finite");
