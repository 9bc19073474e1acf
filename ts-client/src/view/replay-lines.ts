/** What `opswap replay` prints: a line per implementation and output, and the worst elements below. */
import type { Difference } from "./difference.js";
import { count } from "./format.js";
import { table } from "./table.js";

export interface ReplayedArm extends Difference {
  impl: string;
  output: string;
}

export interface ReplayReport {
  file: string;
  op: string;
  bucket: string;
  /** The implementation that the others are compared with. */
  yardstick: string;
  arms: ReplayedArm[];
}

const right = true;
const ARMS = [
  { head: "IMPLEMENTATION" },
  { head: "OUTPUT" },
  { head: "ELEMENTS", right },
  { head: "DIFFERENT", right },
  { head: "OUTSIDE", right },
  { head: "MAX ABS", right },
  { head: "OF TOLERANCE", right },
];
const WORST = [
  { head: "IMPLEMENTATION" },
  { head: "ELEMENT" },
  { head: "GOT", right },
  { head: "EXPECTED", right },
];

export function replayLines({ op, bucket, yardstick, arms }: ReplayReport): string[] {
  const head = `${op}, ${bucket}, against ${yardstick}`;
  if (arms.length === 0) return [`${head}: ran`];
  const rows = arms.map((arm) => [
    arm.impl,
    arm.output,
    count(arm.elements),
    count(arm.differing),
    count(arm.outside),
    arm.maxAbs.toPrecision(3),
    Number.isFinite(arm.share) ? arm.share.toPrecision(3) : "infinite",
  ]);
  const worst = arms.flatMap(({ impl, output, worst: elements }) =>
    elements.map(({ index, got, expected }) => [
      impl,
      `${output}[${index.join(", ")}]`,
      got.toPrecision(9),
      expected.toPrecision(9),
    ]),
  );
  return [head, ...table(ARMS, rows), ...(worst.length === 0 ? [] : ["", ...table(WORST, worst)])];
}
