/** The audit as lines for people. */
import { table } from "./table.js";

/** What is shown of a record. */
export interface ShownRecord {
  n: number;
  time: string;
  who: { user: string; host: string };
  action: string;
  outcome: string;
  asked?: number | undefined;
  engine: string | null;
  from: Record<string, string> | null;
  to: Record<string, string>;
  why: string | null;
  ticket: string | null;
  epoch: number | null;
  error: { code: string; message: string } | null;
  event?: { time: string } | undefined;
}

const COLUMNS = [
  { head: "n", right: true },
  { head: "time" },
  { head: "who" },
  { head: "engine" },
  { head: "what" },
  { head: "outcome" },
  { head: "why" },
];

export function auditLines(records: readonly ShownRecord[]): string[] {
  if (records.length === 0) return ["the audit has no records"];
  const answered = new Set(records.map(({ asked }) => asked));
  return table(
    COLUMNS,
    records.map((record) => row(record, answered.has(record.n))),
  );
}

function row(record: ShownRecord, isAnswered: boolean): string[] {
  const { n, who, engine, why, ticket } = record;
  const time = record.event?.time ?? record.time;
  const reason = [ticket, why].filter((part) => part !== null).join(": ");
  return [
    String(n),
    time,
    `${who.user}@${who.host}`,
    engine ?? "-",
    changes(record),
    outcome(record, isAnswered),
    reason,
  ];
}

function changes({ action, from, to }: ShownRecord): string {
  const each = Object.entries(to).map(([op, impl]) => {
    const before = from?.[op];
    return before === undefined ? `${op} -> ${impl}` : `${op} ${before} -> ${impl}`;
  });
  return `${action} ${each.join(", ")}`;
}

/** A record that asked and has no answer was written by a process that ended in between. */
function outcome({ outcome: said, epoch, asked, error }: ShownRecord, isAnswered: boolean): string {
  if (said === "asked") return isAnswered ? "asked" : "asked, and no outcome is known";
  const of = asked === undefined ? "" : ` (${asked})`;
  if (error !== null) return `${said}${of}: ${error.code}`;
  return `${said}${of}${epoch === null ? "" : `, epoch ${epoch}`}`;
}
