/** A bisect: whether the output moves when all tested ops run on the yardstick, and which of them move it. */
import { OpswapError } from "../types/errors.js";
import { type Answer, type Apart, apart } from "./compare.js";
import { type Found, findGuilty, type Outcome } from "./planner.js";
import { type Engine, type Replay, Replays } from "./replays.js";
import type { TestedOp } from "./tested-ops.js";

export interface How {
  against: string;
  tolerance: number;
  /** Says how it goes. */
  told(line: string): void;
}

/** A set of ops that moves the output. */
export interface Guilty {
  ops: string[];
  /** The output with these on the yardstick, which is the yardstick's unless ops act on each other in no simple way. */
  on: Outcome;
  /** How far the output is from now's with this op alone on the yardstick, by op. */
  alone: Record<string, Apart & { outcome: Outcome }>;
  /** The output with all but these on the yardstick; `now` where nothing else matters. */
  without: Outcome;
}

export interface Bisected {
  /** The same twice: differences that no op makes. */
  floor: Apart;
  /** From now to all on the yardstick. */
  whole: Apart;
  guilty: Guilty[];
  replays: { total: number; untilNamed: number };
}

/** Runs with the first two answers of the engine as it is. */
export async function bisect(
  engine: Engine,
  tested: readonly TestedOp[],
  [now, again]: readonly [Answer, Answer],
  how: How,
): Promise<Bisected> {
  const floor = apart(now, again);
  if (floor.distance > how.tolerance)
    throw new OpswapError(
      "OPSWAP_E_BISECT",
      `the engine answers differently without any switch, by ${floor.distance.toPrecision(3)}; the tolerance is ${how.tolerance}`,
      { remedy: "take other traffic away, or give a larger --tolerance" },
    );
  const replays = new Replays(engine, tested, { ...how, now });
  const whole = await replays.whole();
  how.told(`all on ${how.against}: ${moved(whole, how.tolerance)}`);
  if (whole.distance <= how.tolerance)
    return { floor, whole, guilty: [], replays: { total: 1, untilNamed: 0 } };
  const { found, searched } = await searchIn(replays, tested, how);
  return {
    floor,
    whole,
    guilty: found.map(({ ops, ...one }) => ({ ...one, ops, alone: effects(ops, replays.done, whole) })),
    replays: { total: 1 + replays.done.length, untilNamed: 1 + searched },
  };
}

async function searchIn(
  replays: Replays,
  tested: readonly TestedOp[],
  { told, tolerance }: How,
): Promise<{ found: Found; searched: number }> {
  const search = findGuilty(tested.map(({ op }) => op));
  let searched = 0;
  let step = search.next();
  while (!step.done) {
    const { ops, why } = step.value;
    if (why === "search") searched += 1;
    const replay = await replays.with(ops);
    told(`${ops.join(" ")}: ${OUTCOMES[replay.outcome]} (${moved(replay.fromNow, tolerance)})`);
    step = search.next(replay.outcome);
  }
  return { found: step.value, searched };
}

const OUTCOMES: Record<Outcome, string> = {
  now: "as now",
  yardstick: "as all on the yardstick",
  other: "as neither",
};

/** Each op by itself; of the only one that was tested that is all on the yardstick. */
function effects(ops: readonly string[], done: readonly Replay[], whole: Apart): Guilty["alone"] {
  const alone = (op: string) => done.find((replay) => replay.ops.length === 1 && replay.ops[0] === op);
  return Object.fromEntries(
    ops.map((op) => {
      const found = alone(op);
      return [op, found ? { ...found.fromNow, outcome: found.outcome } : { ...whole, outcome: "yardstick" }];
    }),
  );
}

function moved({ distance, divergence }: Apart, tolerance: number): string {
  const token = divergence === null ? "the same tokens" : `another token at ${divergence.index}`;
  return `${distance > tolerance ? "moves" : "stays"} by ${distance.toPrecision(3)}, ${token}`;
}
