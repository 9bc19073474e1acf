/** What tests of the audit share: folders that go with them, and an entry. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { onTestFinished } from "vitest";
import type { AuditEntry } from "../../ts-client/src/experiments/index.js";

/** Of a store of its own; it is removed with the test that asked for it. */
export function folder(): string {
  const dir = mkdtempSync(path.join(tmpdir(), "oa"));
  onTestFinished(() => rmSync(dir, { recursive: true }));
  return dir;
}

/** A switch of one op to `to`, for a reason that no line may be broken by. */
export function entry(to: string): AuditEntry {
  return {
    who: { user: "test", uid: 1, host: "here" },
    action: "use",
    outcome: "asked",
    engine: "e",
    from: null,
    to: { rms_norm: to },
    why: "naïve \u2028 text",
    ticket: null,
    epoch: null,
    build: null,
    error: null,
  };
}
