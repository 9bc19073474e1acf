/** What a panic did, as lines for people. */
import type { PanicResult } from "../generated/messages.js";
import { isolationLine } from "./switch-lines.js";
import { table } from "./table.js";

const COLUMNS = [{ head: "  op" }, { head: "from" }, { head: "to" }, { head: "why" }];

export function panicLines(done: PanicResult): string[] {
  const { epoch, step, acks, changes, ops, isolation, trouble } = done;
  const ranks = `${acks.length} rank${acks.length === 1 ? "" : "s"}`;
  const head =
    acks.length === 0
      ? "every rank runs this already; nothing was switched"
      : `${changes.length} ops switched: epoch ${epoch}, from step ${step}, confirmed by ${ranks}`;
  const rows = ops.map(({ op, from, to, why }) => [`  ${op}`, from, to, why]);
  return [
    head,
    ...table(COLUMNS, rows),
    ...(isolation === null ? [] : [isolationLine(isolation)]),
    ...ended(done),
    ...trouble.map((what) => `BUT: ${what}`),
  ];
}

function ended({ overrides, shadows, recordings }: PanicResult): string[] {
  const lists = [
    { what: "overrides", ops: overrides.map(({ op, impl }) => `${op}=${impl}`) },
    { what: "shadows", ops: shadows },
    { what: "recordings", ops: recordings },
  ];
  return lists.flatMap(({ what, ops }) => (ops.length === 0 ? [] : [`${what} ended: ${ops.join(" ")}`]));
}
