import { describe, expect, it } from "vitest";
import { clientOf } from "../../testing/console-fixtures.js";
import { parseSpec } from "../spec/read-file.js";
import { digestOf, referencesOf } from "./candidate.js";

const TEXT = "{kind: Experiment, schema: 1, name: test, op: rms_norm, control: cpu, candidate: mine}";
const { spec } = parseSpec("spec.yaml", TEXT);
if (spec.kind !== "Experiment") throw new Error("not an experiment");
const experiment = spec;

const REFERENCE = { bucket: "T16 H1024 bfloat16", control_worst: 0.1, candidate_worst: 0.2 };

/** An engine with a candidate whose quarantine stands so, and ends so. */
function engine(state: string, { kind = "python", verdict = "passed", control = "cpu" } = {}) {
  const asked: string[] = [];
  const kept = { impl: "mine", digest: "d", control, verdict, reason: "it hung", references: [REFERENCE] };
  const answers: Record<string, unknown> = {
    candidates: {
      candidates: [
        { impl: "mine", kind, digest: "d", quarantine: { state, reason: "" } },
        { impl: "cpu", kind: "library", digest: "", quarantine: { state: "none", reason: "" } },
      ],
    },
    quarantine: { epoch: 1, result: kept },
    quarantine_status: { results: [{ ...kept, digest: "older" }, kept] },
  };
  const ask = async (verb: string) => {
    asked.push(verb);
    return answers[verb] as never;
  };
  return { client: clientOf({ ask }), asked };
}

describe("what is known of a candidate", () => {
  it("is put through quarantine where it waits for it, and its references are taken", async () => {
    const { client, asked } = engine("waiting");
    let waited = 0;
    const known = await referencesOf(client, experiment, () => waited++);
    expect([waited, known]).toEqual([1, [{ kind: "reference", ...REFERENCE }]]);
    expect(asked).toContain("quarantine");
  });

  it("is not put through it twice", async () => {
    const { client, asked } = engine("passed");
    expect(await referencesOf(client, experiment, () => {})).toHaveLength(1);
    expect(asked).not.toContain("quarantine");
  });

  it("is refused where quarantine bars it", async () => {
    const { client } = engine("waiting", { verdict: "barred" });
    await expect(referencesOf(client, experiment, () => {})).rejects.toMatchObject({
      code: "OPSWAP_E_BARRED",
      message: "mine of rms_norm failed in quarantine: it hung",
    });
  });

  it("has no references of another control", async () => {
    const { client } = engine("passed", { control: "ref" });
    expect(await referencesOf(client, experiment, () => {})).toEqual([]);
    expect(await digestOf(client, experiment)).toBe("d");
  });

  it("has none where no quarantine is asked of it", async () => {
    const { client, asked } = engine("none", { kind: "library" });
    expect(await referencesOf(client, experiment, () => {})).toEqual([]);
    expect(asked).toEqual(["candidates"]);
  });
});
