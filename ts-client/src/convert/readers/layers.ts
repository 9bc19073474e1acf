/** Which layers each engine fuses, and which it builds unquantised, by architecture. */
import { z } from "zod";
import type { Reader } from "../options/choices.js";
import type { Source } from "../source/source.js";
import { parseJsonText } from "../text/python-json.js";
import { type EngineRules, RULES } from "./rules.js";

/** Engines that build models of their own, and so fuse layers and leave some in their own precision. */
export const ENGINES = ["vllm", "sglang"] as const;
export type Engine = (typeof ENGINES)[number];
export const ENGINE_NAMES: Readonly<Record<Engine, string>> = { vllm: "vLLM", sglang: "SGLang" };

/** Parts that an engine loads into one matrix, in the order of its rows. */
export type Group = readonly string[];

/** What engines make of a model's layers, by the names that a checkpoint has for them. */
export interface Layers {
  groups: readonly Group[];
  /** Why a matrix stays in its own precision; undefined where engines quantise it. */
  plain(name: string): string | undefined;
  /** Engines that have a model of this architecture. */
  known: readonly Engine[];
}

const config = z.object({ architectures: z.array(z.string()).optional() });

/** The model classes that config.json names. */
export function architecturesOf(text: string | null): readonly string[] {
  return config.safeParse(text === null ? {} : parseJsonText(text)).data?.architectures ?? [];
}

/** What these engines build for a model; for an architecture that one does not know, what most of its models have. */
export function layersOf(architectures: readonly string[], engines: readonly Engine[] = ENGINES): Layers {
  const views = engines.map((engine) => viewOf(engine, architectures));
  const groups = new Map(views.flatMap((view) => view.groups.map((group) => [group.join(), group])));
  return {
    groups: [...groups.values()],
    plain: (name) => {
      for (const view of views) {
        const why = view.plain(name);
        if (why !== undefined) return why;
      }
      return undefined;
    },
    known: views.filter(({ known }) => known).map(({ engine }) => engine),
  };
}

interface View extends Pick<Layers, "plain" | "groups"> {
  engine: Engine;
  known: boolean;
}

function viewOf(engine: Engine, architectures: readonly string[]): View {
  const rules = RULES[engine];
  const file = architectures.flatMap((name) => rules.architectures[name] ?? [])[0];
  const own = file === undefined ? undefined : rules.files[file];
  const fused = [...(own?.fused ?? []), ...rules.fused];
  return {
    engine,
    known: own !== undefined,
    groups: fused.map(([, ...parts]) => parts),
    plain: plainness(engine, rules, own, fused),
  };
}

function plainness(
  engine: Engine,
  rules: EngineRules,
  own: EngineRules["files"][string] | undefined,
  fused: readonly Group[],
) {
  const [plain, quantized] = [new Set([...rules.plain, ...(own?.plain ?? [])]), new Set(own?.quantized)];
  const isPlain = (name: string) => plain.has(name) && !quantized.has(name);
  const why = `${ENGINE_NAMES[engine]} ${rules.version} builds it unquantised`;
  const into = new Map(
    fused.filter(([to = ""]) => isPlain(to)).flatMap(([, ...parts]) => parts.map((one) => [one, parts])),
  );
  return (name: string): string | undefined => {
    const { leaf, parent } = placeOf(name);
    const found = plain.has(`${parent}.${leaf}`) || isPlain(leaf) || into.has(leaf);
    return found ? why : undefined;
  };
}

/** The layer of a tensor and what holds it, numbers of layers in a list left out. */
function placeOf(name: string): { leaf: string; parent: string } {
  const parts = name
    .split(".")
    .slice(0, -1)
    .filter((part) => !/^\d+$/.test(part));
  return { leaf: parts.at(-1) ?? "", parent: parts.at(-2) ?? "" };
}

/** The layers of a source's model as a reader builds them; those of every engine where none, or no engine, is named. */
export function layersFor(source: Pick<Source, "config"> | null, reader: Reader | null): Layers {
  const named = ENGINES.filter((engine): engine is Engine => engine === reader);
  return layersOf(architecturesOf(source?.config ?? null), named.length > 0 ? named : ENGINES);
}
