// Plan files: what is kept, what gives way, and what is refused.
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { entryOf, merged, type Part, planFileOf, readPlanFile, writePlanFile } from "./plan-file.js";

const folder = mkdtempSync(join(tmpdir(), "opswap-tuned-"));
afterAll(() => rmSync(folder, { recursive: true }));

const measured = entryOf({ source: "measured", key: "a", way: "slow", us: 2 });
const modelled = entryOf({ source: "modelled", key: "a", way: "fast", cycles: 7 });
const other = entryOf({ source: "modelled", key: "b", way: "fast", cycles: 8 });
const part = (entries: Part["entries"], sources = "s"): Part => ({
  op: "x",
  implementation: "sm90",
  sources,
  entries,
});

describe("a plan file", () => {
  const empty = readPlanFile(planFileOf("H20", folder), "H20");

  it("keeps what was measured, where the same kernels are only modelled later", () => {
    const first = merged(empty, [part([measured])]);
    expect(merged(first, [part([modelled, other])]).ops).toEqual([part([measured, other])]);
    expect(merged(first, [part([modelled], "of other kernels")]).ops).toEqual([
      part([modelled], "of other kernels"),
    ]);
    expect(merged(merged(empty, [part([modelled])]), [part([measured])]).ops).toEqual([part([measured])]);
  });

  it("is read as it was written, and nothing else is left in the folder", () => {
    const file = planFileOf("H20", folder);
    const content = merged(empty, [part([measured, other])]);
    writePlanFile(file, content);
    expect(readPlanFile(file, "H20")).toEqual(content);
    expect(readdirSync(join(folder, "tuned"))).toEqual(["H20.json"]);
  });

  it("of another form or device is refused, and stays as it is", () => {
    const file = planFileOf("H20", folder);
    for (const [text, told] of [
      ["{", /no plan file that this build knows/],
      ['{"schema":2,"device":"H20","ops":[]}', /OPSWAP_E_PLAN|schema|expected/i],
      ['{"schema":1,"device":"H100","ops":[]}', /it is of H100/],
      ['{"schema":1,"device":"H20","ops":[],"run":"rm"}', /run/],
    ] as const) {
      writeFileSync(file, text);
      expect(() => readPlanFile(file, "H20")).toThrow(told);
      expect(readFileSync(file, "utf8")).toBe(text);
    }
  });
});
