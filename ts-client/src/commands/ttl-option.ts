/** Parses an option that says how long an override lasts. */
import { InvalidArgumentError } from "commander";
import { duration } from "../experiments/spec/units.js";

const LEAST_MS = 1_000;
const MOST_MS = 30 * 86_400_000;

/** 90s, 30m or 2d in milliseconds, within what an engine takes. */
export function ttlOption(text: string): number {
  const { data: ms } = duration.safeParse(text);
  if (ms === undefined || ms < LEAST_MS || ms > MOST_MS)
    throw new InvalidArgumentError("a time from 1s to 30d, such as 90s, 30m or 2d");
  return Math.round(ms);
}
