import { z } from "zod";
import { isStacked } from "./policy.js";
import { parseJsonText } from "./python-json.js";
import { architecturesOf } from "./readers/layers.js";
import type { Source, SourceTensor } from "./source.js";

const sizes = z.object({ hidden_size: z.number().optional() });
const config = sizes.extend({ text_config: sizes.optional() });

/** Models whose experts are stacked with rows and columns exchanged, and which engines read so alone. */
const EXCHANGED = /^(GptOss|Llama4)/;
const STACKED = /^(?<experts>.*(^|\.)experts)\.(?<part>gate_up_proj|down_proj)(\.weight)?$/;

/**
 * A source whose stacked experts are single ones, as engines read them in every quantised layout: `experts.gate_up_proj`
 * [E, 2I, H] becomes `experts.N.gate_proj.weight` and `experts.N.up_proj.weight` [I, H], `experts.down_proj` [E, H, I]
 * `experts.N.down_proj.weight`. They lie whole in the file, so that nothing is moved. Others stay as they are.
 */
export function withSingleExperts(source: Source): Source {
  const hidden = hiddenSize(source.config);
  if (hidden === undefined || architecturesOf(source.config).some((name) => EXCHANGED.test(name)))
    return source;
  const single = (tensor: SourceTensor) => (isRegular(tensor, hidden) ? split(tensor) : [tensor]);
  const files = source.files.map((file) =>
    file.header.tensors.some((tensor) => isRegular(tensor, hidden))
      ? { ...file, header: { ...file.header, tensors: file.header.tensors.flatMap(single) } }
      : file,
  );
  return { ...source, files };
}

function hiddenSize(text: string | null): number | undefined {
  const found = config.safeParse(text === null ? {} : parseJsonText(text)).data;
  return found?.text_config?.hidden_size ?? found?.hidden_size;
}

/** Plain experts whose rows are those of a linear layer. */
function isRegular({ name, shape, stored }: SourceTensor, hidden: number): boolean {
  const part = STACKED.exec(name)?.groups?.part;
  if (part === undefined || stored !== undefined || !isStacked(name, shape) || shape.includes(0))
    return false;
  const [, rows = 0, columns = 0] = shape;
  return part === "down_proj" ? rows === hidden : columns === hidden && rows % 2 === 0;
}

function split({ name, dtype, shape, begin, end }: SourceTensor): SourceTensor[] {
  const { experts = "", part = "" } = STACKED.exec(name)?.groups ?? {};
  const leaves = part === "down_proj" ? [part] : ["gate_proj", "up_proj"];
  const [count = 0, rows = 0, columns = 0] = shape;
  const bytes = (end - begin) / count / leaves.length;
  return Array.from({ length: count * leaves.length }, (_, i) => ({
    name: `${experts}.${Math.floor(i / leaves.length)}.${leaves[i % leaves.length]}.weight`,
    dtype,
    shape: [rows / leaves.length, columns],
    begin: begin + i * bytes,
    end: begin + (i + 1) * bytes,
  }));
}
