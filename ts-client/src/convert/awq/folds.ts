/** Plans for --awq which layer gives its scale to which others. */
import { z } from "zod";
import type { BlockScheme } from "../../types/convert-job.js";
import { convertError } from "../errors.js";
import type { Decided } from "../policy/decision.js";
import { isExpert } from "../source/layer-names.js";
import type { Located, Source, SourceTensor } from "../source/source.js";
import { parseJsonText } from "../text/python-json.js";
import type { Calibration } from "./calibration.js";
import { FAMILIES, type Family, type NormRule, type RowRule } from "./families.js";
import type { Fold, Folded, Folding } from "./types.js";

const LAYER = /^(?<layer>(.*\.)?layers\.\d+\.)(?<module>.+)\.[^.]+$/;
const FLOATS = new Set(["BF16", "F16", "F32"]);
const text = z.object({
  model_type: z.string().optional(),
  head_dim: z.number().nullish(),
  hidden_size: z.number().optional(),
  num_attention_heads: z.number().optional(),
  num_key_value_heads: z.number().nullish(),
});
const config = text.extend({ text_config: text.optional() });
type Config = z.infer<typeof text>;

/** What is scaled by what; reads no weight. */
export function planFolds(
  source: Source,
  decided: readonly Decided[],
  calibration: Calibration,
  scheme: BlockScheme,
): Folding {
  const { family, about } = familyOf(source);
  const found = new Folds(family, about, decided, calibration, scheme);
  for (const layer of layersOf(decided)) found.add(layer);
  return found.folding();
}

function familyOf(source: Source): { family: Family; about: Config } {
  const given = config.parse(parseJsonText(source.config ?? "{}"));
  const about = given.text_config ?? given;
  const type = about.model_type ?? given.model_type ?? "";
  const family = FAMILIES.get(type);
  if (family !== undefined) return { family, about };
  throw convertError(
    "OPSWAP_E_CANNOT_CONVERT",
    `--awq: config.json has model_type "${type}", and what reads its norms is not known`,
    `leave --awq out; known are ${[...FAMILIES.keys()].join(", ")}`,
  );
}

interface Layer {
  prefix: string;
  /** By module; a module's tensors are together. */
  modules: ReadonlyMap<string, readonly Decided[]>;
}

function layersOf(decided: readonly Decided[]): Layer[] {
  const layers = new Map<string, Map<string, Decided[]>>();
  for (const one of decided) {
    const { layer, module } = LAYER.exec(one.tensor.name)?.groups ?? {};
    if (layer === undefined || module === undefined) continue;
    const modules = layers.get(layer) ?? new Map<string, Decided[]>();
    layers.set(layer, modules);
    modules.set(module, [...(modules.get(module) ?? []), one]);
  }
  return [...layers].map(([prefix, modules]) => ({ prefix, modules }));
}

const weightOf = (layer: Layer, module: string): Decided | undefined =>
  layer.modules.get(module)?.find(({ tensor }) => tensor.name === `${layer.prefix}${module}.weight`);

function refuse(name: string, why: string): never {
  throw convertError("OPSWAP_E_CANNOT_CONVERT", `--awq: ${name} ${why}`, "leave --awq out");
}

class Folds {
  readonly #family: Family;
  readonly #about: Config;
  readonly #decided: readonly Decided[];
  readonly #calibration: Calibration;
  readonly #scheme: BlockScheme;
  readonly #folds: Fold[] = [];
  readonly #reasons = new Map<string, string>();

  constructor(
    family: Family,
    about: Config,
    decided: readonly Decided[],
    calibration: Calibration,
    scheme: BlockScheme,
  ) {
    this.#scheme = scheme;
    this.#family = family;
    this.#about = about;
    this.#decided = decided;
    this.#calibration = calibration;
  }

  add(layer: Layer): void {
    for (const rule of this.#family.norms) this.#norm(layer, rule);
    for (const rule of this.#family.rows)
      for (const module of layer.modules.keys()) if (rule.from.test(module)) this.#rows(layer, rule, module);
  }

  folding(): Folding {
    const byTensor = new Map<string, Folded[]>();
    const note = (name: string, folded: Folded) =>
      byTensor.set(name, [...(byTensor.get(name) ?? []), folded]);
    for (const fold of this.#folds) {
      note(fold.from.tensor.name, { fold, role: "from" });
      for (const { tensor } of fold.into) note(tensor.name, { fold, role: "into" });
    }
    const scaled = new Set(this.#folds.flatMap(({ into }) => into.map(({ tensor }) => tensor.name)));
    const unscaled = this.#decided
      .filter(({ tensor, decision }) => decision.quantize && !scaled.has(tensor.name))
      .map(({ tensor: { name } }) => ({
        name,
        why: this.#reasons.get(name) ?? "nothing makes its input into which scales can be folded",
      }));
    return { folds: this.#folds, unscaled, byTensor };
  }

  #norm(layer: Layer, rule: NormRule): void {
    const modules = [...layer.modules.keys()];
    const unknown = modules.find(
      (module) =>
        rule.within !== "" &&
        (module === rule.within || module.startsWith(`${rule.within}.`)) &&
        !rule.readers.test(module) &&
        !rule.others.test(module),
    );
    const into = modules.flatMap((module) =>
      rule.readers.test(module) ? (weightOf(layer, module) ?? []) : [],
    );
    const searched = into.filter(({ decision }) => decision.quantize);
    if (searched.length === 0) return;
    if (unknown !== undefined)
      refuse(`${layer.prefix}${unknown}`, `may read ${rule.norm}, which is not known`);
    const from = weightOf(layer, rule.norm);
    if (from === undefined) refuse(`${layer.prefix}${rule.norm}.weight`, "is missing");
    checkNorm(layer, rule.norm, from, into);
    const measured = this.#statistics(into);
    if (measured === undefined) this.#missing(searched[0]?.tensor.name);
    const channels = from.tensor.shape[0] ?? 0;
    const whole = { repeat: 1, width: channels, plusOne: this.#family.plusOne };
    this.#folds.push({ kind: "norm", from, into, searched, scheme: this.#scheme, measured, ...whole });
  }

  #rows(layer: Layer, rule: RowRule, module: string): void {
    const parent = module.slice(0, module.lastIndexOf(".") + 1);
    const [from, into] = [weightOf(layer, module), weightOf(layer, `${parent}${rule.into}`)];
    if (from === undefined || into?.decision.quantize !== true) return;
    const name = into.tensor.name;
    const heads = rule.heads
      ? headsOf(this.#about, from.tensor, into.tensor)
      : wholeOf(from.tensor, into.tensor);
    const measured = this.#statistics([into]);
    const unknown =
      measured === undefined && isExpert(name) ? "the statistics have none of experts" : undefined;
    const obstacle = rowObstacle(layer, module, from) ?? heads.obstacle ?? unknown;
    if (obstacle !== undefined) this.#reasons.set(name, obstacle);
    else if (measured === undefined) this.#missing(name);
    else {
      const parts = { from, into: [into], searched: [into], scheme: this.#scheme, measured };
      this.#folds.push({ kind: "rows", plusOne: false, ...parts, ...heads.heads });
    }
  }

  /** Of the first that has them: all read the same. Experts come last, because each sees a share of the tokens. */
  #statistics(into: readonly Located[]): SourceTensor | undefined {
    const [dense, experts] = [false, true].map((expert) =>
      into.filter(({ tensor }) => isExpert(tensor.name) === expert),
    );
    const all = [...(dense ?? []), ...(experts ?? [])];
    return all.find(({ tensor }) => this.#calibration.statistic(tensor, "mean_square") !== null)?.tensor;
  }

  #missing(name = ""): never {
    throw convertError(
      "OPSWAP_E_CALIBRATION",
      `--awq needs ${name}.mean_square, which --calibration has not`,
      "collect statistics of this model (`python -m opswap.adapters.vllm.calibration`), or keep the layer with --keep",
    );
  }
}

function checkNorm(layer: Layer, norm: string, { tensor }: Located, into: readonly Located[]): void {
  if (layer.modules.get(norm)?.length !== 1) refuse(tensor.name, "has more than a weight");
  if (tensor.shape.length !== 1 || !FLOATS.has(tensor.dtype))
    refuse(tensor.name, `is ${tensor.dtype} of [${tensor.shape.join(", ")}], not a vector of floats`);
  const other = into.find(({ tensor: { shape } }) => shape.length !== 2 || shape[1] !== tensor.shape[0]);
  if (other === undefined) return;
  refuse(
    other.tensor.name,
    `of [${other.tensor.shape.join(", ")}] does not read the ${tensor.shape[0]} channels of ${tensor.name}`,
  );
}

function rowObstacle(layer: Layer, module: string, from: Decided): string | undefined {
  if (!from.decision.quantize) return `${module} is kept, and dividing its rows would round them`;
  if (layer.modules.get(module)?.some(({ tensor }) => tensor.name.endsWith(".bias")) === true)
    return `${module} has a bias, which would be rounded`;
  return undefined;
}

interface Heads {
  heads: Pick<Fold, "repeat" | "width">;
  obstacle?: string;
}

function wholeOf(from: SourceTensor, into: SourceTensor): Heads {
  const [rows = 0, columns = 0] = [from.shape[0], into.shape[1]];
  const heads = { repeat: 1, width: rows };
  return rows === columns
    ? { heads }
    : { heads, obstacle: `its ${columns} columns are not the ${rows} rows before it` };
}

/** Heads of values that several heads of the output share, as config.json tells them. */
function headsOf(about: Config, from: SourceTensor, into: SourceTensor): Heads {
  const [rows = 0, columns = 0] = [from.shape[0], into.shape[1]];
  const count = about.num_attention_heads ?? 0;
  const shared = about.num_key_value_heads ?? count;
  const width = about.head_dim ?? (about.hidden_size ?? 0) / count;
  const heads = { repeat: count / shared, width };
  const fits = Number.isInteger(width) && width > 0 && width * shared === rows && width * count === columns;
  if (fits && Number.isInteger(heads.repeat)) return { heads };
  const words = `config.json's ${count} heads of ${width}, ${shared} of them with values`;
  return { heads, obstacle: `${words}, are not its ${columns} columns and v_proj's ${rows} rows` };
}
