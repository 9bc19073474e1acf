/** Parses an option that is a number of threads, processes or ranks. */
import { InvalidArgumentError } from "commander";

/** A number of threads, processes or ranks, as an option's value. */
export function countOption(text: string): number {
  const value = Number(text);
  if (!Number.isInteger(value) || value < 1 || value > 64)
    throw new InvalidArgumentError("a number from 1 to 64");
  return value;
}
