// What `opswap why` shows of an implementation beside the reason.
import { expect, it } from "vitest";
import type { ImplWhy } from "../generated/messages.js";
import { whyLines } from "./why-lines.js";

const impl: ImplWhy = { name: "sm90", usable: true, reason: "", external: false, priority: 20 };
const linesOf = (impls: ImplWhy[]) =>
  whyLines({ op: "linear", ranks: [{ rank: 0, op_version: 2, active: "cpu", impls }] });

it("says what batch_invariant costs, and nothing where an implementation cannot give it", () => {
  const [, , can, cannot] = linesOf([{ ...impl, batch_invariant: "1.2 times, modelled" }, impl]);
  expect(can).toMatch(/sm90 .* batch_invariant: 1\.2 times, modelled$/);
  expect(cannot).not.toMatch(/batch_invariant/);
});
