import { mkdtempSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { DEFAULTS } from "../options/options.js";
import { policyView } from "../plan/policy-view.js";
import { layersOf } from "../readers/layers.js";
import { openSource } from "../source/open.js";
import { headOf, layoutFile } from "../source/safetensors/layout.js";
import { decide, policyRules, withLayers } from "./policy.js";

const dir = mkdtempSync(path.join(tmpdir(), "op"));
afterAll(() => rmSync(dir, { recursive: true, force: true }));

const SHAPES: Record<string, number[]> = {
  "model.embed_tokens.weight": [512, 128],
  "model.norm.weight": [128],
  "model.layers.0.mlp.gate_proj.weight": [128, 128],
  "model.layers.0.mlp.up_proj.weight": [128, 128],
  "model.layers.1.mlp.gate.weight": [8, 128],
  "model.layers.1.mlp.experts.0.down_proj.weight": [128, 128],
  "model.layers.11.self_attn.o_proj.weight": [128, 128],
};

function source() {
  const tensors = Object.entries(SHAPES).map(([name, shape]) => ({ name, dtype: "BF16", shape }));
  const layout = layoutFile(tensors, { format: "pt" });
  const file = path.join(dir, "model.safetensors");
  writeFileSync(file, headOf(layout));
  truncateSync(file, layout.bytes);
  return openSource(dir);
}

const view = (options: object) => policyView({ ...DEFAULTS, ...options }, source());
const reasons = (options: object) =>
  Object.fromEntries((view(options).outcome ?? []).map((one) => [one.why, one.tensors]));

describe("a declared policy", () => {
  it("says what becomes of a source, and the rules say why", () => {
    expect(reasons({})).toEqual({
      embedding: 1,
      "a vector, not a matrix": 1,
      "linear layer": 3,
      router: 1,
      expert: 1,
    });
    expect(reasons({ policy: "experts" })).toMatchObject({ "not an expert": 3, expert: 1, router: 1 });
  });

  it("lists the rules that decide, in their order: what is asked for comes before the policy's own", () => {
    const layers = layersOf([]);
    const options = { ...DEFAULTS, keep: ["a.*"], quantize: ["lm_head.weight"] };
    const { rules } = policyView(options, null);
    const order = [
      "not a matrix",
      "asked for: --keep a.*",
      "asked for: --quantize lm_head.weight",
      "output head",
    ];
    expect(rules.flatMap((rule) => order.filter((why) => rule.why.startsWith(why)))).toEqual(order);
    expect(rules.at(-1)).toMatchObject({ action: "quantize", why: "linear layer" });
    const head = { name: "lm_head.weight", dtype: "BF16", shape: [8, 8], begin: 0, end: 128 };
    expect(decide(head, policyRules({ ...options, name: "linear", layers })).quantize).toBe(true);
    expect(decide(head, policyRules({ name: "linear", keep: [], quantize: [], layers })).why).toBe(
      "output head",
    );
  });

  it("keeps what a group is fused with", () => {
    expect(reasons({ keep: ["*.up_proj.weight"] })).toMatchObject({
      "asked for: --keep *.up_proj.weight": 1,
      "linear layer": 1,
    });
    expect(Object.keys(reasons({ keep: ["*.up_proj.weight"] })).join()).toMatch(/fused with/);
  });
});

describe("{first} and {last}", () => {
  it("are the numbers of the first and the last layer, as numbers and not as text", () => {
    expect(withLayers(["*.layers.{first}.*", "*.{last}.x"], Object.keys(SHAPES))).toEqual([
      "*.layers.0.*",
      "*.11.x",
    ]);
    expect(reasons({ keep: ["*.layers.{last}.*"] })).toMatchObject({ "asked for: --keep *.layers.11.*": 1 });
  });

  it("need layers", () => {
    expect(() => withLayers(["{last}"], ["lm_head.weight"])).toThrow(/no tensor is named like/);
    expect(withLayers(["a.*"], [])).toEqual(["a.*"]);
  });
});
