/** `opswap panic`: every op to the framework's own kernel, at once. */
import { Command, Option } from "commander";
import { runningEngines } from "../client/switch-everywhere.js";
import { withTarget } from "../client/target.js";
import type { PanicResult } from "../generated/messages.js";
import type { OpswapError } from "../types/errors.js";
import { asRefusal } from "../types/refusal.js";
import { errorLines } from "../view/error-lines.js";
import { panicLines } from "../view/panic-lines.js";
import { type Context, EXIT, engineOptions, examples, type Io, type TargetOptions } from "./context.js";
import { exitCodeOf } from "./errors.js";
import { type AuditOptions, auditOptions, inAudit } from "./in-audit.js";
import { secondsOption } from "./seconds-option.js";

interface Options extends TargetOptions, AuditOptions {
  all?: boolean;
  timeout?: number;
}

type Outcome = { engine: string; result: PanicResult } | { engine: string; error: OpswapError };

const SECONDS = 30;
/** For the questions before and after the switch. */
const BESIDE_MS = 30_000;

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
    const { all, json } = options;
    if (!all) {
      const result = await one(context, options, options.engine);
      for (const line of json ? [JSON.stringify(result, null, 2)] : panicLines(result)) context.io.out(line);
      context.exitCode = EXIT.ok;
      return;
    }
    const outcomes = await Promise.all(runningEngines().map((engine) => tried(context, options, engine)));
    report(context.io, json, outcomes);
    const failed = outcomes.flatMap((outcome) => ("error" in outcome ? [exitCodeOf(outcome.error)] : []));
    context.exitCode =
      failed.length === 1 ? (failed[0] ?? EXIT.ok) : failed.length > 0 ? EXIT.failed : EXIT.ok;
  });
}

/** Told to the engine first, and kept in the audit after it. */
function one(context: Context, options: Options, engine: string | undefined): Promise<PanicResult> {
  const { reason, timeout = SECONDS } = options;
  const request = { timeout_ms: Math.round(1000 * timeout), ...(reason !== undefined && { reason }) };
  const timeoutMs = 4 * request.timeout_ms + BESIDE_MS;
  const asked = { action: "panic", to: {} };
  const change = inAudit(
    context.io,
    asked,
    options,
    (client) => client.ask("panic", request, { timeoutMs }),
    { afterwards: true },
  );
  return withTarget(engine === undefined ? {} : { engine }, change);
}

/** One engine that fails stops no other. */
async function tried(context: Context, options: Options, engine: string): Promise<Outcome> {
  try {
    return { engine, result: await one(context, options, engine) };
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
