/** Parses an option that is a time limit. */
import { InvalidArgumentError } from "commander";

/** A time limit in seconds, within what the protocol takes. */
export function secondsOption(text: string): number {
  const seconds = Number(text);
  if (!(seconds >= 0.001 && seconds <= 600)) throw new InvalidArgumentError("seconds from 0.001 to 600");
  return seconds;
}
