/** Replays of one prompt with sets of ops on the yardstick, and what they answered. */
import { type Answer, type Apart, apart } from "./compare.js";
import type { Outcome } from "./planner.js";
import type { TestedOp } from "./tested-ops.js";

/** What a bisect needs of the engine. */
export interface Engine {
  /** From here on exactly these run on the yardstick, on every rank. */
  to(ops: readonly string[]): Promise<void>;
  answer(): Promise<Answer>;
}

/** How the output with one set on the yardstick compares. */
export interface Replay {
  ops: readonly string[];
  outcome: Outcome;
  fromNow: Apart;
  fromYardstick: Apart;
}

export class Replays {
  /** All of them, in order. */
  readonly done: Replay[] = [];
  readonly #engine: Engine;
  readonly #tested: readonly TestedOp[];
  readonly #now: Answer;
  #yardstick: Answer | undefined;
  readonly #tolerance: number;

  constructor(engine: Engine, tested: readonly TestedOp[], how: { now: Answer; tolerance: number }) {
    this.#engine = engine;
    this.#tested = tested;
    this.#now = how.now;
    this.#tolerance = how.tolerance;
  }

  /** All ops on the yardstick, once and first: what the others are compared with as well. */
  async whole(): Promise<Apart> {
    this.#yardstick = await this.#answered(this.#tested.map(({ op }) => op));
    return apart(this.#now, this.#yardstick);
  }

  async with(ops: readonly string[]): Promise<Replay> {
    const answer = await this.#answered(ops);
    const [fromNow, fromYardstick] = [apart(this.#now, answer), apart(this.#yardstick ?? answer, answer)];
    const replay = {
      ops,
      outcome: this.#outcome(fromNow.distance, fromYardstick.distance),
      fromNow,
      fromYardstick,
    };
    this.done.push(replay);
    return replay;
  }

  /** Within the tolerance of one of both, and of both the nearer one; else of neither. */
  #outcome(fromNow: number, fromYardstick: number): Outcome {
    if (Math.min(fromNow, fromYardstick) > this.#tolerance) return "other";
    return fromNow <= fromYardstick ? "now" : "yardstick";
  }

  async #answered(ops: readonly string[]): Promise<Answer> {
    await this.#engine.to(ops);
    return this.#engine.answer();
  }
}
