/** --workers: converts with several processes, each a part, and merges. */
import { type ChildProcess, fork } from "node:child_process";
import { z } from "zod";
import { OpswapError } from "../../types/errors.js";
import { convertError } from "../errors.js";
import type { ConvertOptions } from "../options/options.js";
import type { Plan } from "../plan/types.js";
import type { Report } from "../report/report.js";
import type { ConvertEvent, Emit } from "./events.js";
import { defaultThreads, merge, type PartOptions } from "./run.js";

/** What a worker is told; it plans from the same headers and so comes to the same parts. */
export const task = z.object({
  source: z.string(),
  output: z.string(),
  options: z.custom<ConvertOptions>((value) => typeof value === "object"),
  tokenizer: z.string().optional(),
  part: z.object({ index: z.number(), count: z.number() }),
  threads: z.number(),
  checksums: z.boolean(),
});
export type Task = z.infer<typeof task>;

/** What a worker tells. */
export type WorkerMessage =
  | { event: ConvertEvent }
  | { error: { code: string; message: string; remedy: string } };

/**
 * Converts `source`, which `plan` is of, with `workers` processes, each a part, and merges. A kill of this process ends them; the same command,
 * with any number of workers, goes on where they stopped.
 */
export async function runPool(
  source: string,
  plan: Plan,
  output: string,
  workers: number,
  options: PartOptions,
  emit: Emit,
): Promise<Report> {
  const threads = options.threads ?? Math.max(1, Math.ceil(defaultThreads() / workers));
  const parts = Array.from({ length: workers }, (_, i) => ({ index: i + 1, count: workers }));
  const tensors = plan.files.reduce((count, file) => count + file.tensors.length, 0);
  const sizes = { source_bytes: plan.sourceBytes, output_bytes: plan.outputBytes };
  emit({ event: "begin", doing: "run", output, tensors, ...sizes });
  const tasks = parts.map((part) => ({
    source,
    output,
    options: plan.options,
    tokenizer: plan.source.tokenizer,
    part,
    threads,
    checksums: options.checksums ?? true,
  }));
  await all(tasks.map((one) => startWorker(one, emit)));
  return merge(plan, output, options, emit);
}

interface Running {
  child: ChildProcess;
  ended: Promise<void>;
}

/** Waits for every worker; the first that fails ends the others. */
async function all(running: readonly Running[]): Promise<void> {
  let failure: unknown;
  const watched = running.map(({ ended }) =>
    ended.catch((error: unknown) => {
      failure ??= error;
      for (const { child } of running) child.kill();
    }),
  );
  await Promise.all(watched);
  if (failure !== undefined) throw failure;
}

function startWorker(one: Task, emit: Emit): Running {
  const child = fork(new URL("./pool-worker.js", import.meta.url), {
    stdio: ["ignore", "ignore", "inherit", "ipc"],
  });
  child.send(one);
  const ended = new Promise<void>((done, fail) => {
    let error: unknown;
    child.on("message", (message: WorkerMessage) => {
      if ("error" in message)
        error = new OpswapError(message.error.code, message.error.message, message.error);
      else if (message.event.event !== "begin" && message.event.event !== "end") emit(message.event);
    });
    child.on("error", fail);
    child.on("close", (code, signal) => {
      if (code === 0) done();
      else
        fail(
          error ?? convertError("OPSWAP_E_ENDED", `worker ${one.part.index} ended with ${signal ?? code}`),
        );
    });
  });
  return { child, ended };
}
