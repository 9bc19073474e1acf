/** `opswap panic`: every op to the framework's own kernel, at once. */
import { Command, Option } from "commander";
import { type Running, runningEngines } from "../client/switch-everywhere.js";
import { type Target, withTarget } from "../client/target.js";
import type { PanicResult } from "../generated/messages.js";
import type { OpswapError } from "../types/errors.js";
import { asRefusal } from "../types/refusal.js";
import { errorLines } from "../view/error-lines.js";
import { panicLines } from "../view/panic-lines.js";
import {
  type Context,
  EXIT,
  type ExitCode,
  engineOptions,
  examples,
  type Io,
  type TargetOptions,
} from "./context.js";
import { exitCodeOf } from "./errors.js";
import { type AuditOptions, auditOptions, inAudit } from "./in-audit.js";
import { secondsOption } from "./seconds-option.js";

interface Options extends TargetOptions, AuditOptions {
  all?: boolean;
  timeout?: number;
}

type Outcome = { engine: string; result: PanicResult } | { engine: string; error: OpswapError };

const SECONDS = 30;

export function panicCommand(context: Context): Command {
  const command = new Command("panic")
    .description("every op to the framework's own kernel, or to what is known to run well; all else ends")
    .addOption(new Option("--all", "every running engine, all at once").conflicts("engine"))
    .option(
      "--timeout <seconds>",
      `how long a rank may take for each of prepare and commit (${SECONDS})`,
      secondsOption,
    )
    .addHelpText(
      "after",
      "\nNo freeze stops it, nor a disk that is full. Overrides, shadows and recordings end.",
    )
    .addHelpText(
      "after",
      examples("panic", "panic --engine smollm2 --reason 'NaNs since 10:40'", "panic --all"),
    );
  return engineOptions(auditOptions(command)).action(async (options: Options) => {
    const { all, engine, json } = options;
    if (!all) {
      const result = await one(context, options, engine === undefined ? {} : { engine });
      for (const line of json ? [JSON.stringify(result, null, 2)] : panicLines(result)) context.io.out(line);
      context.exitCode = exitOf({ engine: "", result });
      return;
    }
    const outcomes = await Promise.all(runningEngines().map((running) => tried(context, options, running)));
    report(context.io, json, outcomes);
    const failed = outcomes.map(exitOf).filter((code) => code !== EXIT.ok);
    context.exitCode = failed.length > 1 ? EXIT.failed : (failed[0] ?? EXIT.ok);
  });
}

/** Done means that every rank confirmed, and that no op stayed because ranks refused. */
function exitOf(outcome: Outcome): ExitCode {
  if ("error" in outcome) return exitCodeOf(outcome.error);
  return outcome.result.refused.length > 0 ? EXIT.failed : EXIT.ok;
}

/** Told to the engine first, and kept in the audit after it. */
function one(context: Context, options: Options, target: Target): Promise<PanicResult> {
  const { reason, timeout = SECONDS } = options;
  const request = { timeout_ms: Math.round(1000 * timeout), ...(reason !== undefined && { reason }) };
  const timeoutMs = 4 * request.timeout_ms;
  const asked = { action: "panic", to: {} };
  const change = inAudit(
    context.io,
    asked,
    options,
    (client) => client.ask("panic", request, { timeoutMs }),
    { afterwards: true },
  );
  return withTarget(target, change);
}

/** One engine that fails stops no other. */
async function tried(context: Context, options: Options, running: Running): Promise<Outcome> {
  const { engine } = running;
  try {
    return { engine, result: await one(context, options, running) };
  } catch (thrown) {
    return { engine, error: asRefusal(thrown) };
  }
}

function report(io: Io, json: boolean | undefined, outcomes: readonly Outcome[]): void {
  if (json) io.out(JSON.stringify(outcomes.map(asJson), null, 2));
  for (const outcome of json ? [] : outcomes) {
    if ("error" in outcome)
      for (const line of errorLines(outcome.error)) io.err(`${outcome.engine}: ${line}`);
    else for (const line of panicLines(outcome.result)) io.out(`${outcome.engine}: ${line}`);
  }
}

/** An error as scripts read it: an Error itself is `{}` in JSON. */
function asJson(outcome: Outcome) {
  if (!("error" in outcome)) return outcome;
  const { code, message, remedy } = outcome.error;
  return { engine: outcome.engine, error: { code, message, remedy } };
}
