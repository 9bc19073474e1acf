/** A verb beside the switches that is in the audit: one record of what was done, or of the refusal. */
import { whoRuns } from "../experiments/audit/audited-switch.js";
import { FileAudit } from "../experiments/audit/file-store.js";
import type { AuditEntry } from "../experiments/audit/store.js";
import { stateFolder } from "../experiments/state-folder.js";
import { asRefusal } from "../types/refusal.js";
import { errorLines } from "../view/error-lines.js";
import type { Io } from "./context.js";

/** What is known of it: `action` from the beginning, the rest as it comes. */
export type Told = Pick<AuditEntry, "action"> & Partial<AuditEntry>;

/** Works, and keeps what came of it; `work` may add to what is told. A refusal is kept and thrown on. */
export async function recorded<T>(io: Io, told: Told, work: (told: Told) => Promise<T>): Promise<T> {
  return refusalKept(io, told, async () => {
    const result = await work(told);
    await keep(io, { ...told, outcome: "done" });
    return result;
  });
}

/** The same where something else keeps what was done. */
export async function refusalKept<T>(io: Io, told: Told, work: () => T | Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (thrown) {
    const { code, message } = asRefusal(thrown);
    await keep(io, { ...told, outcome: "refused", error: { code, message } });
    throw thrown;
  }
}

/** One record; where the audit cannot be written the verb goes on, and says so. */
export async function keep(io: Io, told: Told & Pick<AuditEntry, "outcome">): Promise<void> {
  const empty = { engine: null, from: null, to: {}, why: null, ticket: null, epoch: null, build: null };
  try {
    await new FileAudit(stateFolder()).append({ who: whoRuns(), ...empty, error: null, ...told });
  } catch (thrown) {
    for (const line of errorLines(asRefusal(thrown))) io.err(line);
    io.err(`  ${told.action} is not in the audit`);
  }
}
