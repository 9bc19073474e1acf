/**
 * What the rules of several readers share: which layouts are of one kind, which tensors are experts, and
 * problems of both.
 */
import { isExpert } from "../source/layer-names.js";
import type { Matrix, OutputFacts, Problem } from "./types.js";

/** Layouts whose config.json speaks compressed-tensors. */
export const CT = /^ct_|^w4a8_g128_vllm/;
/** Layouts with blocks as compressed-tensors describes them. */
export const CT_BLOCKS = /^(ct_fp8_block|w4a8_g128_vllm_mixed)$/;
export const W4AFP8 = /^w4a8_g128_(sglang|trtllm)$/;
const OWN = /^fp8_(channel|block128_pad4)$/;

export const isLlama4 = ({ architectures }: OutputFacts) =>
  architectures.some((name) => name.startsWith("Llama4"));

/** A problem of these tensors; none where there are none. */
export function problemOf(
  found: readonly Pick<Matrix, "name">[],
  problem: Omit<Problem, "tensors">,
): Problem[] {
  return found.length === 0 ? [] : [{ ...problem, tensors: found.map(({ name }) => name) }];
}

export const experts = ({ matrices }: OutputFacts) => matrices.filter(({ name }) => isExpert(name));

const SAME_CODES: Readonly<Record<string, string>> = {
  fp8_channel: "ct_fp8_channel",
  fp8_block128_pad4: "fp8_block128",
};

/** No reader but opswap has a name for the layouts of its own kernels. */
export function ownLayout({ layout }: OutputFacts, file: string): Problem[] {
  if (!OWN.test(layout)) return [];
  return [
    {
      problem: "quant_method opswap is none that it knows",
      remedy: `the same codes load as \`convert repack --to ${SAME_CODES[layout]}\``,
      file,
    },
  ];
}
