/** What engines did by themselves, in the audit: each event once. */
import { readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import { describe, expect, it } from "vitest";
import { type AuditEntry, FileAudit, MemoryAudit } from "../../ts-client/src/experiments/index.js";
import { entry, folder } from "./audits.js";

/** The n-th of what an engine did by itself. */
function event(n: number, journal = "j"): AuditEntry {
  return { ...entry("cpu"), action: "override-ended", outcome: "done", event: { journal, n, time: "then" } };
}

describe.each([
  ["file", () => new FileAudit(folder())],
  ["memory", () => new MemoryAudit()],
])("the audit in a %s", (_kind, make) => {
  it("takes each event of an engine once, and says of how many it never learned", async () => {
    const audit = make();
    expect(await audit.collect([event(1), event(2)])).toBe(2);
    await audit.append(entry("ref"));
    expect(await audit.collect([event(1), event(2), event(3)])).toBe(1);
    expect(await audit.collect([event(6)])).toBe(2);
    expect(await audit.collect([event(1, "new")])).toBe(1);
    expect(await audit.collect([event(6), event(1, "new")].slice(0, 1))).toBe(0);
    const { records, broken } = audit.verified();
    expect(broken).toBeNull();
    expect(records.map(({ action, event: of }) => `${action} ${of?.journal} ${of?.n}`)).toEqual([
      "override-ended j 1",
      "override-ended j 2",
      "use undefined undefined",
      "override-ended j 3",
      "events-missed j 5",
      "override-ended j 6",
      "override-ended new 1",
    ]);
    expect(records[4]?.why).toBe("2 earlier events were not kept until somebody asked");
  });
});

it("takes no event twice where its writer was killed before it wrote the head", async () => {
  const audit = new FileAudit(folder());
  await audit.append(entry("ref"));
  const head = path.join(path.dirname(audit.file), "audit.head");
  const before = readFileSync(head, "utf8");
  await audit.collect([event(1), event(2)]);
  writeFileSync(head, before);
  expect(await audit.collect([event(1), event(2), event(3)])).toBe(1);
  expect(audit.verified()).toMatchObject({ broken: null, head: { records: 4, events: { j: 3 } } });
});
