/** A source whose stacked experts are read as one tensor for each expert. */
import { z } from "zod";
import { parseJsonText } from "../text/python-json.js";
import type { Source, SourceFile } from "./source.js";
import { type ExpertModel, splitStacked } from "./split-experts.js";

const sizes = z.object({ hidden_size: z.number().optional(), model_type: z.string().optional() });
const config = sizes.extend({ text_config: sizes.optional(), architectures: z.array(z.string()).optional() });

/** A source whose stacked experts are single ones, as engines read them in every quantised layout; others stay as they are. */
export function withSingleExperts(source: Source): Source {
  const model = modelOf(source.config);
  if (model === undefined) return source;
  return { ...source, files: source.files.map((file) => withSingle(file, model)) };
}

function modelOf(text: string | null): ExpertModel | undefined {
  const found = config.safeParse(text === null ? {} : parseJsonText(text)).data;
  const hidden = found?.text_config?.hidden_size ?? found?.hidden_size;
  if (hidden === undefined) return undefined;
  const turned = found?.architectures?.map((name) => /^(GptOss|Llama4)/.exec(name)?.[1]).find((one) => one);
  const named = found?.text_config?.model_type ?? found?.model_type ?? "";
  return { hidden, modelType: turned === undefined ? named : turned === "GptOss" ? "gpt_oss" : "llama4" };
}

/** Their scales come along, each beside its own. */
function withSingle(file: SourceFile, model: ExpertModel): SourceFile {
  const scaled = new Set(file.header.tensors.map(({ scaleOf }) => scaleOf));
  const cut = new Map(
    file.header.tensors.flatMap((tensor) => {
      const whole = tensor.stored?.scales === undefined || scaled.has(tensor.name); // none of its scales is elsewhere
      const split = whole ? splitStacked(tensor, model) : undefined;
      return split === undefined ? [] : [[tensor.name, split] as const];
    }),
  );
  if (cut.size === 0) return file;
  const tensors = file.header.tensors.flatMap((tensor) => {
    const split = cut.get(tensor.name);
    if (split !== undefined) return [...split.weights, ...split.scales];
    return tensor.scaleOf !== undefined && cut.has(tensor.scaleOf) ? [] : [tensor];
  });
  return { ...file, header: { ...file.header, tensors } };
}
