/** Replays of one prompt with sets of ops on the yardstick, and what they answered. */
import type { Change } from "../generated/messages.js";
import { type Answer, type Apart, apart } from "./compare.js";
import type { Outcome } from "./planner.js";
import type { TestedOp } from "./tested-ops.js";

/** What a bisect needs of the engine. */
export interface Engine {
  /** Switches all of them on every rank, or throws. */
  use(changes: Change[], why: string): Promise<void>;
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
  readonly #against: string;
  readonly #now: Answer;
  #yardstick: Answer | undefined;
  readonly #tolerance: number;
  #on: ReadonlySet<string> = new Set();

  constructor(
    engine: Engine,
    tested: readonly TestedOp[],
    how: { against: string; now: Answer; tolerance: number },
  ) {
    this.#engine = engine;
    this.#tested = tested;
    this.#against = how.against;
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
    const replay = { ops, outcome: this.#outcome(fromNow.distance, fromYardstick.distance), fromNow, fromYardstick };
    this.done.push(replay);
    return replay;
  }

  /** Within the tolerance of one of both, and of both the nearer one; else of neither. */
  #outcome(fromNow: number, fromYardstick: number): Outcome {
    if (Math.min(fromNow, fromYardstick) > this.#tolerance) return "other";
    return fromNow <= fromYardstick ? "now" : "yardstick";
  }

  async #answered(ops: readonly string[]): Promise<Answer> {
    const on = new Set(ops);
    const changes = this.#tested
      .filter(({ op }) => on.has(op) !== this.#on.has(op))
      .map(({ op, now }) => ({ op, impl: on.has(op) ? this.#against : now }));
    if (changes.length > 0) await this.#engine.use(changes, `${ops.join(", ")} on ${this.#against}`);
    this.#on = on;
    return this.#engine.answer();
  }
}
