/** Experiments on a played engine, and what a refusal has to leave behind. */
import { writeFileSync } from "node:fs";
import path from "node:path";
import { expect } from "vitest";
import { FileAudit } from "../../ts-client/src/experiments/index.js";
import type { Ran } from "./harness.js";

export const QUICK = "sampling: {warmup: 0}\nanalysis: {interval: 100ms, timeout: 60s}\nguard: {lease: 1s}\n";
export const GOOD = "op: silu_and_mul\ncontrol: cpu\ncandidate: framework\n";

/** Undecided, with a look so seldom that the heartbeat alone finds what is wrong. */
export const OPEN =
  "sampling: {warmup: 0}\nguard: {lease: 3s}\nanalysis: {interval: 50s, timeout: 60s, alpha: 0.0001, metrics: [{name: latency, non_inferior: 0.0001}]}\n";

/** Refused with these words and this code, in the audit, and nothing of it is stored. */
export const refusedIn = (state: string) => (ran: Ran, action: RegExp, code: string) => {
  expect(ran.err).toMatch(new RegExp(`^opswap: .*\\[${code}\\]\\n`));
  expect(ran.err).not.toMatch(/\n\s+at /);
  expect(ran.code).not.toBe(0);
  const { broken, records } = new FileAudit(state).verified();
  expect(broken).toBeNull();
  expect(records.at(-1)).toMatchObject({
    action: expect.stringMatching(action),
    outcome: "refused",
    error: { code },
  });
};

/** Writes NAME.yaml with an experiment of that name, and returns its path. */
export function experimentFile(dir: string, name: string, fields: string): string {
  const file = path.join(dir, `${name}.yaml`);
  writeFileSync(file, `kind: Experiment\nschema: 1\nname: ${name}\n${fields}`);
  return file;
}
