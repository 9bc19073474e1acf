/** Turns an error into what the console shows of it: message, code and remedy. */
import { OpswapError } from "../types/errors.js";
import type { Failure } from "./state.js";

/** What the screen says of an error; a defect of ours is not dressed up as an answer. */
export function failureOf(error: unknown): Failure {
  if (!(error instanceof OpswapError)) throw error;
  const { code, message, remedy, ranks } = error;
  return { code, message, remedy, ranks };
}
