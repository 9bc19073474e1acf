import { Command } from "commander";
import type { DoctorResult } from "../generated/messages.js";
import { type Context, EXIT, examples, show, type Target, targetOptions, withTarget } from "./context.js";

export function doctorCommand(context: Context): Command {
  const command = new Command("doctor")
    .description("check that the engine really runs opswap's ops, and that its ranks agree; exits 1 when not")
    .addHelpText("after", examples("doctor", "doctor --json"));
  return targetOptions(command).action(async (options: Target) => {
    const result = await withTarget(options, (client) => client.doctor());
    show(context.io, options.json, result, doctorLines);
    context.exitCode = result.healthy ? EXIT.ok : EXIT.failed;
  });
}

/** One line a check, what to do below those that are not well. */
export function doctorLines({ healthy, checks }: DoctorResult): string[] {
  const lines = checks.flatMap(({ name, state, message, remedy }) => [
    `${state.padEnd(4)}  ${name}: ${message}`,
    ...(remedy ? [`      ${remedy}`] : []),
  ]);
  return [...lines, healthy ? "healthy" : "NOT healthy"];
}
