/** A run of an experiment, from its first call to its verdict: what `ab run` does in the foreground, and a controller of `ab start` behind it. */
import { startTime } from "../../client/process.js";
import type { OpswapClient } from "../../client/types.js";
import type { ExperimentSpec } from "../../experiments/index.js";
import { referencesOf } from "../../experiments/live/candidate.js";
import { type Look, runExperiment } from "../../experiments/live/run-experiment.js";
import { inRun, type Phase, type Run, specOfRun, writeRun } from "../../experiments/store/index.js";
import { coverageOf, lookOf } from "../../experiments/store/look.js";
import type { Action } from "../../experiments/verdict/action.js";
import type { Verdict } from "../../experiments/verdict/store.js";
import { asRefusal } from "../../types/refusal.js";
import { count, duration } from "../../view/format.js";
import type { Io } from "../context.js";
import { Guard } from "./guard.js";
import { storedVerdict, tellVerdict } from "./run-verdict.js";
import { hasEnded, settle } from "./settle.js";

/** How a run ended. */
export interface Conducted {
  run: Run;
  verdict: Verdict;
  action: Action;
  /** Where the verdict is. */
  place: string;
}

/** What ends a run from outside; SIGHUP is a terminal that went away. */
const SIGNALS = ["SIGINT", "SIGTERM", "SIGHUP"] as const;
/** After these the engine may have died, and be about to end. */
const SILENT = new Set([
  "OPSWAP_E_TIMEOUT",
  "OPSWAP_E_CLOSED",
  "OPSWAP_E_NOT_RUNNING",
  "OPSWAP_E_UNEXPECTED",
]);
/** A run shows that it lives at least so often. */
const HEARTBEAT_MS = 5_000;
const MOST_REASON = 1_000;

export class Conductor {
  readonly #io: Io;
  readonly #client: OpswapClient;
  readonly #folder: string;
  readonly #spec: ExperimentSpec;
  readonly #stop = new AbortController();
  readonly #guard: Guard;
  #run: Run;
  /** Why it was stopped, where a person did not. */
  #lost = "";

  constructor(io: Io, client: OpswapClient, folder: string, run: Run) {
    this.#io = io;
    this.#client = client;
    this.#folder = folder;
    this.#run = run;
    this.#spec = specOfRun(folder, run).spec;
    this.#guard = new Guard(io, client, this.#spec);
  }

  /** Runs to the end. A run that breaks off is lost, with the reason, and thrown on. */
  async conduct(): Promise<Conducted> {
    const interrupt = () => this.#stop.abort();
    // Until the candidate is taken back: a second Ctrl-C must not leave it serving.
    for (const signal of SIGNALS) process.on(signal, interrupt);
    const controller = { pid: process.pid, start_time: startTime(process.pid) ?? "" };
    this.#write({ controller });
    const heart = setInterval(() => void this.#beat(), Math.min(HEARTBEAT_MS, this.#spec.guard.lease / 3));
    try {
      const { pid } = await this.#client.status();
      this.#write({ engine_process: { pid, start_time: startTime(pid) ?? "" } });
      const last = await this.#looked();
      return await this.#judged(last);
    } catch (thrown) {
      const { code, message } = asRefusal(thrown);
      // What quarantine bars never ran in the engine, and fails.
      const phase = code === "OPSWAP_E_BARRED" ? "failed" : "lost";
      if (SILENT.has(code)) await hasEnded(this.#run);
      this.#write({ phase, reason: `${message} [${code}]`.slice(0, MOST_REASON), ended: now() });
      await settle(this.#io, this.#folder, this.#run.experiment).catch(() => {}); // whoever looks next does
      throw thrown;
    } finally {
      clearInterval(heart);
      for (const signal of SIGNALS) process.off(signal, interrupt);
    }
  }

  /** Looks until the last one. Only a candidate that passed goes on serving, or one that `pause` leaves to a person. */
  async #looked(): Promise<Look> {
    const { mode, salt } = this.#run;
    const isGuarded = mode === "guarded" && this.#spec.candidate !== this.#spec.control;
    const started = async () => {
      if (isGuarded && !this.#stop.signal.aborted) await this.#guard.letServe();
      this.#write({ phase: mode });
    };
    const known = await referencesOf(this.#client, this.#spec, () => this.#write({ phase: "quarantine" }));
    const [samplesFile, { signal }] = [inRun(this.#folder, this.#run, "samples.jsonl"), this.#stop];
    const options = { samplesFile, signal, salt, started, known, isServing: isGuarded };
    let last: Look | undefined;
    try {
      for await (const look of runExperiment(this.#client, this.#spec, options)) {
        last = look;
        await this.#follow(look);
      }
    } finally {
      await this.#takeBack("the experiment broke off");
    }
    if (last === undefined) throw new Error("an experiment ends with a look");
    return last;
  }

  /** First what follows, since a failing candidate serves until then; the store after it. */
  async #follow(look: Look): Promise<void> {
    const { action, judgement, decided } = look;
    if (action === "promotable") await this.#guard.leave("it passed, and waits to be promoted");
    else if (action === "pause") await this.#guard.leave("it failed, and waits for a person");
    else if (action !== "hold") await this.#takeBack(judgement.reason, decided);
    this.#write({ look: lookOf(look), coverage: coverageOf(look.ranks) });
    this.#io.err(lookLine(look)); // progress: whoever reads the result may close the pipe before
  }

  async #takeBack(reason: string, decided = Date.now()): Promise<void> {
    const back = await this.#guard.takeBack(reason);
    if (back === undefined) return;
    const { epoch, step } = back;
    this.#write({ taken_back: { epoch, step, decided: new Date(decided).toISOString() } });
  }

  async #judged({ action, judgement }: Look): Promise<Conducted> {
    const { verdict, place } = storedVerdict(this.#folder, this.#run);
    const phase = this.#phaseAfter(action);
    const stopped = phase === "stopped" ? this.#lost || "it was stopped" : "";
    const reason = stopped === "" ? judgement.reason : `${stopped}; ${judgement.result}: ${judgement.reason}`;
    this.#write({ phase, reason, verdict: verdict.id, ended: now() });
    await tellVerdict(this.#io, this.#folder, this.#run, verdict);
    return { run: this.#run, verdict, action, place };
  }

  #phaseAfter(action: Action): Phase {
    if (action === "promotable") return "passed";
    if (action === "rollback" || action === "pause") return "failed";
    return this.#stop.signal.aborted ? "stopped" : "inconclusive";
  }

  /** The run lives, and its candidate may serve on; where it does not serve any more there is nothing left to compare. */
  async #beat(): Promise<void> {
    const lost = (await this.#guard.renew()) ?? this.#unwritable();
    if (lost === undefined) return;
    this.#lost = lost;
    this.#stop.abort();
  }

  /** Why the store takes no heartbeat: a run that cannot be told of ends, and its candidate is taken back. */
  #unwritable(): string | undefined {
    try {
      this.#write({});
      return undefined;
    } catch (thrown) {
      return asRefusal(thrown).message;
    }
  }

  #write(more: Partial<Run>): void {
    this.#run = { ...this.#run, ...more, heartbeat: now() };
    writeRun(this.#folder, this.#run);
  }
}

const now = () => new Date().toISOString();

interface ShownLook {
  elapsedMs: number;
  samples: number;
  judgement: { result: string; reason: string };
}

/** A look, as watch prints it too. */
export function lookLine({ elapsedMs, samples, judgement }: ShownLook): string {
  return `${duration(elapsedMs * 1e6)}: ${count(samples)} samples: ${judgement.result}: ${judgement.reason}`;
}
