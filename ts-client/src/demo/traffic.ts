/** Requests that keep a served model busy, as those of many users would, while something is tried on it: nothing of one is cached for another. */
import { randomUUID } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { type Answer, ask, compare, QUESTION } from "./ask.js";

/** Between two requests of a stream: an engine that never waits leaves a small machine no room for anything else. */
const BETWEEN_MS = 50;

/** Streams of the same question; `stop` says what came of them. */
export class Traffic {
  readonly #expected: Answer;
  readonly #streams: Promise<void>[];
  readonly #failures: string[] = [];
  #answers = 0;
  #differing = 0;
  #over = false;

  /** Asks `url` from `streams` streams at once; answers are compared with `expected`. */
  constructor(url: string, expected: Answer, streams = 2) {
    this.#expected = expected;
    this.#streams = Array.from({ length: streams }, () => this.#stream(url));
  }

  get answers(): number {
    return this.#answers;
  }

  /** Ends the streams with the requests that are under way. */
  async stop(): Promise<{ answers: number; differing: number; failures: string[] }> {
    this.#over = true;
    await Promise.all(this.#streams);
    return { answers: this.#answers, differing: this.#differing, failures: this.#failures };
  }

  /** A request that fails is told at the end; the stream goes on, as users do. */
  async #stream(url: string): Promise<void> {
    while (!this.#over) {
      try {
        const { same } = compare(this.#expected, await ask(url, QUESTION, randomUUID()));
        this.#answers += 1;
        this.#differing += same ? 0 : 1;
      } catch (error) {
        this.#failures.push(error instanceof Error ? error.message : String(error));
        await sleep(1_000);
      }
      await sleep(BETWEEN_MS);
    }
  }
}
