/** What the doctor found, as lines for people. */
import type { DoctorResult } from "../generated/messages.js";

/** One line a check, what to do below those that are not well. */
export function doctorLines({ healthy, checks }: DoctorResult): string[] {
  const lines = checks.flatMap(({ name, state, message, remedy }) => [
    `${state.padEnd(4)}  ${name}: ${message}`,
    ...(remedy ? [`      ${remedy}`] : []),
  ]);
  return [...lines, healthy ? "healthy" : "NOT healthy"];
}
