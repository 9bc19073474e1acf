/** Experiments and freezes as files: their fields, lines of errors, names, and which exclude each other. */
import { readFileSync } from "node:fs";
import path from "node:path";
import { describe, expect, it } from "vitest";
import type { Manifest } from "../../ts-client/src/client/manifest.js";
import type { OpswapClient } from "../../ts-client/src/client/types.js";
import {
  checkExperiment,
  jsonSchema,
  parseSpec,
  refuseFrozen,
  refuseShared,
} from "../../ts-client/src/experiments/index.js";
import {
  type ExperimentSpec,
  FIELDS,
  type FreezeSpec,
} from "../../ts-client/src/experiments/spec/experiment.js";
import { SPEC_TEXT, spec } from "./samples.js";

const refusal = (message: RegExp) =>
  expect.objectContaining({ code: "OPSWAP_E_EXPERIMENT", message: expect.stringMatching(message) });

describe("a file", () => {
  it("takes its defaults from the schema", () => {
    expect(spec()).toMatchObject({
      buckets: [],
      on_fail: "rollback",
      sampling: { share: 0.01, budget: 0.01, warmup: 20 },
      analysis: {
        alpha: 0.05,
        interval: 30_000,
        metrics: [{ name: "safety" }, { name: "numerics" }, { name: "latency", non_inferior: 0.01 }],
      },
    });
  });

  it("is the same in YAML and in JSON, tabs in it or not", () => {
    const json = JSON.stringify(
      { kind: "Experiment", schema: 1, name: "test", op: "rms_norm", control: "ref", candidate: "cpu" },
      null,
      "\t",
    );
    expect(parseSpec("a.json", json).spec).toEqual(spec());
  });

  it("takes shares and durations in their units", () => {
    const read = spec(
      "analysis: {interval: 500ms, timeout: 1.5h, alpha: 0.01, metrics: [{name: latency, non_inferior: 2.5%}]}",
    );
    expect(read.analysis).toMatchObject({
      interval: 500,
      timeout: 5_400_000,
      alpha: 0.01,
      metrics: [{ non_inferior: 0.025 }],
    });
  });

  it.each([
    [
      "an unknown field",
      "sampling:\n  budjet: 1%\n",
      /line 8: sampling: there is no field budjet; did you mean budget\?/,
    ],
    [
      "an unknown metric",
      "analysis:\n  metrics:\n    - name: latncy\n",
      /line 9: .*no metric is named latncy.*did you mean latency/,
    ],
    ["a metric twice", "analysis:\n  metrics: [{name: safety}, {name: safety}]\n", /line 8: .*twice/],
    ["a share of nothing", "analysis:\n  alpha: 0%\n", /line 8: .*above 0/],
    ["a duration without a unit", "analysis:\n  interval: 30\n", /line 8: analysis\.interval/],
    ["an unknown answer to a failure", "on_fail: ignore\n", /line 7: on_fail/],
    ["a field twice", "op: linear\n", /line 7: .*unique/],
    ["YAML that is none", "buckets: [\n", /line \d: /],
    ["a tag", "owner: !!js/function x\n", /line 7: /],
    ["an anchor that is used", "owner: &a b\nticket: *a\n", /Alias/],
    ["a second document", "---\nkind: Freeze\n", /line \d: /],
    ["a prototype", "__proto__: {x: 1}\n", /no field __proto__/],
  ])("with %s is refused with its line", (_what, more, message) => {
    expect(() => parseSpec("f.yaml", SPEC_TEXT + more)).toThrow(refusal(message));
  });

  it.each([
    ["brackets", "[".repeat(60_000)],
    ["maps", "{a: ".repeat(15_000)],
    ["dashes", "- ".repeat(30_000)],
    ["a number", "1"],
    ["nothing", ""],
    ["another kind", "kind: Rollout\n"],
  ])("of %s is refused as any other", (_what, text) => {
    expect(() => parseSpec("f.yaml", text)).toThrow(refusal(/^f\.yaml, line 1: /));
  });

  const page = readFileSync(path.resolve(import.meta.dirname, "../../docs/ab-verdicts.md"), "utf8");

  it("is on the page as it is taken, with every field", () => {
    const blocks = [...page.matchAll(/^```yaml\n([\s\S]*?)^```/gm)].map(
      ([, text]) => parseSpec("page", text ?? "").spec,
    );
    expect(blocks.map(({ kind }) => kind)).toEqual(["Experiment", "Freeze"]);
    expect(FIELDS.filter((field) => !page.includes(field))).toEqual([]);
  });

  it("is described by the published schema", () => {
    const published = readFileSync(
      path.resolve(import.meta.dirname, "../../docs/experiment.schema.json"),
      "utf8",
    );
    expect(JSON.parse(published)).toEqual(JSON.parse(JSON.stringify(jsonSchema())));
  });
});

const OPS = [
  { op: "attention", composes: ["prefill", "decode"] },
  { op: "prefill" },
  { op: "decode" },
  { op: "deep", composes: ["attention"] },
  { op: "rms_norm", types: { scalar: ["float32", "bfloat16"] }, shape: ["T", "H"] },
];
const manifest = {
  schema: 1,
  errors: [],
  ops: OPS.map(({ shape, ...op }) => ({
    version: 1,
    hash: "",
    summary: "",
    args: [{ name: "x", kind: "tensor", shape }],
    ...op,
  })),
} as unknown as Manifest;
const why = {
  ranks: [
    {
      impls: [
        { name: "ref", usable: true },
        { name: "sm90", usable: false, reason: "no device" },
      ],
    },
  ],
};

/** The client is played: what is asked of it is two answers. */
function client(service: "local" | "engine", changed: Partial<Manifest["ops"][number]> = {}): OpswapClient {
  const ops = manifest.ops.map((op) => ({ ...op, ...changed }));
  return {
    service,
    name: "played",
    manifest: async () => ({ ...manifest, ops }),
    why: async () => why,
  } as unknown as OpswapClient;
}

describe("names", () => {
  const check = (text: string, on = client("local")) => {
    const read = parseSpec("f.yaml", text);
    if (read.spec.kind !== "Experiment") throw new Error("not an experiment");
    return checkExperiment(on, { ...read, spec: read.spec });
  };
  const good = SPEC_TEXT.replace("cpu", "sm90");

  it("that the library has are taken, also where it cannot run them", async () => {
    await check(`${good}buckets: [T16 H0 bfloat16, float32]\n`);
  });

  it.each([
    [
      "an op",
      good.replace("rms_norm", "rms_nrom"),
      /line 4: there is no op rms_nrom; did you mean rms_norm\?/,
    ],
    [
      "an implementation",
      good.replace("sm90", "sm9"),
      /line 6: rms_norm has no implementation sm9; did you mean sm90\?/,
    ],
    ["a dtype", `${good}buckets: [T1 H1 bflot16]\n`, /line 7: .*no dtype bflot16; did you mean bfloat16\?/],
    ["a symbol", `${good}buckets: [T1 J1 bfloat16]\n`, /line 7: .*no size J/],
    ["a size", `${good}buckets: [T1 H1000 bfloat16]\n`, /line 7: .*H1000 is no power of two/],
  ])("of %s that is not there are refused with the nearest", async (_what, text, message) => {
    await expect(check(text)).rejects.toEqual(refusal(message));
  });

  it("that an engine cannot run are refused with its reason", async () => {
    await expect(check(good, client("engine"))).rejects.toEqual(
      refusal(/line 6: candidate sm90 cannot run in played: no device/),
    );
  });

  it.each([
    [{ toggle_class: "restart" }, /line 5: rms_norm ref is switched by restart, so no verdict/],
    [
      { toggle_classes: { sm90: "recapture" } },
      /line 6: rms_norm sm90 is switched by recapture, so no verdict/,
    ],
  ])("whose switch is not live are refused", async (declared, message) => {
    await expect(check(good, client("local", declared))).rejects.toEqual(refusal(message));
  });
});

describe("exclusion", () => {
  const on = (op: string): ExperimentSpec => ({ ...spec(), name: op, op });
  const excluded = (message: RegExp) =>
    expect.objectContaining({ code: "OPSWAP_E_EXCLUDED", message: expect.stringMatching(message) });

  it.each([
    ["rms_norm", "rms_norm", "rms_norm"],
    ["attention", "decode", "decode"],
    ["prefill", "attention", "prefill"],
    ["deep", "prefill", "prefill"],
    ["deep", "attention", "attention"],
  ])("is between %s and %s, which share %s", (one, other, shared) => {
    expect(() =>
      refuseShared(
        manifest,
        [on(one), on("rms_norm"), on(other)].filter((s, i) => i !== 1 || s.op !== one),
      ),
    ).toThrow(excluded(new RegExp(`both touch ${shared}`)));
  });

  it("is not between ops that share nothing", () => {
    expect(() => refuseShared(manifest, [on("prefill"), on("decode"), on("rms_norm")])).not.toThrow();
  });

  it("ends in a composite that is made of itself", () => {
    const circle = { ...manifest, ops: manifest.ops.map((op) => ({ ...op, composes: ["deep"] })) };
    expect(() => refuseShared(circle, [on("deep"), on("prefill")])).toThrow(excluded(/deep/));
  });

  const freeze = (more: Partial<FreezeSpec> = {}): FreezeSpec => ({
    kind: "Freeze",
    schema: 1,
    name: "launch",
    owner: "ops-team",
    reason: "launch week",
    until: "2026-06-10T00:00:00Z",
    ops: [],
    ...more,
  });
  const frozen = (given: FreezeSpec, op: string, at: string, owner?: string) => () =>
    refuseFrozen(manifest, [given], [{ ...on(op), ...(owner && { owner }) }], new Date(at));

  it("is in a freeze, until it ends, for everybody but its owner", () => {
    expect(frozen(freeze(), "rms_norm", "2026-06-09T23:59:59Z")).toThrow(
      excluded(/frozen by ops-team until .*launch week/),
    );
    expect(frozen(freeze(), "rms_norm", "2026-06-10T00:00:00Z")).not.toThrow();
    expect(frozen(freeze(), "rms_norm", "2026-06-09T00:00:00Z", "ops-team")).not.toThrow();
  });

  it("begins with the freeze, in any time zone", () => {
    const given = freeze({ from: "2026-06-01T00:00:00+02:00" });
    expect(frozen(given, "rms_norm", "2026-05-31T21:59:59Z")).not.toThrow();
    expect(frozen(given, "rms_norm", "2026-05-31T22:00:00Z")).toThrow();
  });

  it("holds for the ops that a freeze names, what they are made of, and what is made of them", () => {
    const at = "2026-06-01T00:00:00Z";
    expect(frozen(freeze({ ops: ["attention"] }), "rms_norm", at)).not.toThrow();
    expect(frozen(freeze({ ops: ["attention"] }), "decode", at)).toThrow();
    expect(frozen(freeze({ ops: ["decode"] }), "deep", at)).toThrow();
  });

  it("needs a freeze with an end", () => {
    expect(() => parseSpec("f.yaml", "{kind: Freeze, schema: 1, name: a, owner: b, reason: c}")).toThrow(
      refusal(/until/),
    );
  });
});
