/** The records of a bisect in the audit, round those of its switches: that it began, and how it ended. */
import type { Report } from "../../bisect/lines.js";
import type { OpswapClient } from "../../client/types.js";
import { entryOf, kept } from "../../experiments/audit/audited-switch.js";
import { FileAudit } from "../../experiments/audit/file-store.js";
import { stateFolder } from "../../experiments/state-folder.js";
import type { OpswapError } from "../../types/errors.js";
import { asRefusal } from "../../types/refusal.js";
import { errorLines } from "../../view/error-lines.js";
import type { Io } from "../context.js";
import type { AuditOptions } from "../in-audit.js";

export async function withStory(
  io: Io,
  client: OpswapClient,
  { reason: why, ticket, against }: AuditOptions & { against: string },
  work: () => Promise<Report>,
): Promise<Report> {
  const store = new FileAudit(stateFolder());
  const about = {
    why,
    ticket,
    unaudited: (error: OpswapError) => {
      for (const line of errorLines(error)) io.err(line);
    },
  };
  const base = entryOf(client, { action: `bisect against ${against}`, to: {} }, about);
  const asked = await kept(store, base, about);
  const ended = async (how: object) =>
    void (asked !== undefined && (await kept(store, { ...base, asked, ...how }, about)));
  try {
    const report = await work();
    const named = report.guilty.flatMap(({ ops }) => ops);
    await ended({
      outcome: "done",
      why: [why, named.length === 0 ? "no op moves the output" : `the output is moved by ${named.join(", ")}`]
        .filter(Boolean)
        .join(": "),
    });
    return report;
  } catch (thrown) {
    const { code, message } = asRefusal(thrown);
    await ended({ outcome: "refused", error: { code, message } });
    throw thrown;
  }
}
