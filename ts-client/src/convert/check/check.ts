/** A checkpoint's faults, and what each reader does with it (`opswap convert check`), from its headers alone. */
import type { Reader } from "../options/choices.js";
import { architecturesOf, layersFor } from "../readers/layers.js";
import type { OutputFacts } from "../readers/types.js";
import { type Verdict, verdictsOf } from "../readers/verdicts.js";
import { isExpert, isHeadTied, moduleOf } from "../source/layer-names.js";
import { openSource } from "../source/open.js";
import { allTensors } from "../source/source.js";
import { type DeclaredQuantization, declaredQuantization } from "./declared-quantization.js";
import { type Finding, findingsOf } from "./findings.js";

/** What readers will do with a checkpoint, whoever wrote it. */
export interface CheckResult extends Pick<DeclaredQuantization, "layout" | "method"> {
  architectures: readonly string[];
  tensors: number;
  /** What is wrong for every reader. */
  findings: readonly Finding[];
  /** What each reader does with its layout; none where no rule is known for it. */
  readers: readonly Verdict[];
}

/** Looks at the headers of a checkpoint; reads no weight. */
export function check(folder: string, reader: Reader | null): CheckResult {
  const source = openSource(folder);
  const tensors = allTensors(source);
  const declared = declaredQuantization(source);
  const architectures = architecturesOf(source.config);
  const findings = source.kind === "gguf" ? [] : findingsOf(tensors, declared, layersFor(source, reader));
  const verdicts =
    declared.layout === null || source.kind === "gguf"
      ? []
      : verdictsOf(factsOf(declared, tensors, architectures));
  const asked = verdicts.filter((one) => reader === null || one.reader === reader);
  return {
    layout: declared.layout,
    method: declared.method,
    architectures,
    tensors: tensors.length,
    findings,
    readers: asked,
  };
}

const SCALE = /_scale(_inv)?$/;
const COLUMNS: Readonly<Record<string, number>> = { I32: 8, I8: 2 };

function factsOf(
  declared: DeclaredQuantization,
  tensors: ReturnType<typeof allTensors>,
  architectures: readonly string[],
): OutputFacts {
  const scaled = new Set(
    tensors.flatMap(({ tensor: { name } }) => (SCALE.test(name) ? [name.replace(SCALE, "")] : [])),
  );
  const matrices = tensors.flatMap(({ tensor: { name, dtype, shape } }) => {
    const weight = name.replace(/_packed$/, "");
    const columns = (shape[1] ?? 0) * (COLUMNS[dtype] ?? 1);
    return scaled.has(weight) ? [{ name: weight, shape: [shape[0] ?? 0, columns] }] : [];
  });
  const modules = matrices.map(moduleOf);
  const others = tensors.map(({ tensor }) => tensor.name).filter((name) => name.endsWith(".weight"));
  const kept = (declared.kept ?? []).concat(
    declared.kept === null ? plainDense(others, new Set(modules)) : [],
  );
  const tiedHead = isHeadTied(others);
  return { layout: declared.layout ?? "", architectures, kept, quantized: modules, tiedHead, matrices };
}

/** Linear layers without scales, where no list names them. */
const plainDense = (names: readonly string[], quantized: ReadonlySet<string>) =>
  names
    .map((name) => name.replace(/\.weight$/, ""))
    .filter((name) => /_proj$/.test(name) && !quantized.has(name) && !isExpert(`${name}.weight`));
