import { expect, it } from "vitest";
import { OpswapError } from "../types/errors.js";
import { errorLines } from "./error-lines.js";

const rank = (number: number, reason: string) => ({ rank: number, code: "OPSWAP_E_UNUSABLE", reason });
const lines = (message: string, ranks: ReturnType<typeof rank>[]) =>
  errorLines(new OpswapError("OPSWAP_E_REFUSED", message, { ranks, remedy: "do" }));

it.each([
  ["no card", [], ["opswap: no card [OPSWAP_E_REFUSED]", "  do"]],
  ["no card", [rank(0, "no card")], ["opswap: no card [OPSWAP_E_REFUSED]", "  on rank 0", "  do"]],
  [
    "1 of 3 ranks refused, nothing changed: no card",
    [rank(2, "no card")],
    ["opswap: 1 of 3 ranks refused, nothing changed: no card [OPSWAP_E_REFUSED]", "  on rank 2", "  do"],
  ],
  [
    "rank 0: no card; rank 1: too old",
    [rank(0, "no card"), rank(1, "too old")],
    ["opswap: rank 0: no card; rank 1: too old [OPSWAP_E_REFUSED]", "  do"],
  ],
  [
    "a sentence that was cut",
    [rank(0, "no card"), rank(1, "too old")],
    ["opswap: a sentence that was cut [OPSWAP_E_REFUSED]", "  rank 0: no card", "  rank 1: too old", "  do"],
  ],
])("%s, of ranks %j: each reason is said once", (message, ranks, expected) => {
  expect(lines(message, ranks)).toEqual(expected);
});
