/** Shows the events of a conversion: as a bar, as lines of JSON, or not at all. */
import type { ConvertEvent, Emit } from "../../convert/index.js";
import { asRefusal } from "../../types/refusal.js";
import type { Context } from "../context.js";
import { exitCodeOf, printStack } from "../errors.js";
import type { Output } from "./options.js";
import { ProgressBar } from "./progress.js";

/**
 * Runs work whose events are shown as the options and the terminal say: a bar, lines of JSON, or nothing. An error
 * comes as a line of JSON as well where events do.
 */
export async function reported(
  context: Context,
  output: Output,
  work: (emit: Emit) => Promise<void>,
): Promise<void> {
  const people = process.stderr.isTTY && process.stdout.isTTY && !output.json;
  const bar = people && !output.quiet ? new ProgressBar(process.stderr) : undefined;
  const line = (value: object) => context.io.out(JSON.stringify(value));
  const emit = (event: ConvertEvent) => {
    if (bar) bar.show(event);
    else if (!people && !output.quiet) line(event);
    if (bar && event.event === "end") context.io.out(endLine(event));
  };
  try {
    await work(emit);
  } catch (error) {
    if (people || output.quiet) throw error;
    const refusal = asRefusal(error);
    const { code, message, remedy } = refusal;
    line({ event: "error", code, message, remedy });
    printStack(context.io, refusal);
    context.exitCode = exitCodeOf(refusal);
  } finally {
    bar?.clear();
  }
}

function endLine(event: Extract<ConvertEvent, { event: "end" }>): string {
  if (event.already_done)
    return `${event.output} is there already, from the same source with the same options`;
  const what = { run: "written", merge: "published", verify: "verified, bit for bit" }[event.doing];
  return `${event.output}: ${what} in ${event.seconds.toFixed(1)} s`;
}
