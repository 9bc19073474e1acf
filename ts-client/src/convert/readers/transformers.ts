/** What transformers does not load right, and what to do. */
import { CT, CT_BLOCKS, experts, isLlama4, ownLayout, problemOf, W4AFP8 } from "./layouts.js";
import type { Matrix, OutputFacts, Problem, ReaderRules } from "./types.js";

const BLOCK = 128;

const isUneven = ({ shape }: Matrix) => shape.some((extent) => extent > BLOCK && extent % BLOCK !== 0);
const stackedExperts = ({ kept }: OutputFacts) => kept.filter((name) => name.endsWith(".experts"));

/** FP8 that it reads right: blocks, but for matrices that end inside one. */
const readable = ({ matrices }: OutputFacts) =>
  matrices.some(isUneven) ? "write ct_fp8_channel" : "write fp8_block128";

/** Its FP8 knows blocks; it loads the codes of other layouts as if they were weights. */
function bareCodes(facts: OutputFacts): Problem[] {
  const { layout } = facts;
  if (layout !== "fp8_tensor" && !W4AFP8.test(layout)) return [];
  return [
    {
      problem: "it takes no notice of these scales, and computes with bare codes",
      remedy:
        layout === "fp8_tensor" && stackedExperts(facts).length === 0
          ? "`convert repack --to ct_fp8_tensor` has the same codes"
          : readable(facts),
      file: "integrations/finegrained_fp8.py",
    },
  ];
}

/** Experts are stacked while they load, for which it asks that scales have two dimensions that fit. */
function blockExperts(facts: OutputFacts): Problem[] {
  return problemOf(facts.layout === "ct_fp8_block" ? experts(facts) : [], {
    problem: "it cannot stack experts whose scales are blocks of compressed-tensors",
    remedy: readable(facts),
    file: "core_model_loading.py",
  });
}

/** compressed-tensors before 0.19 takes a lone column of blocks for scales of rows, and cannot fill up partial blocks. */
function partialBlocks(facts: OutputFacts): Problem[] {
  const unfit = ({ shape: [rows = 0, columns = 0] }: Matrix) =>
    rows % BLOCK !== 0 || columns % BLOCK !== 0 || columns === BLOCK;
  return problemOf(CT_BLOCKS.test(facts.layout) ? facts.matrices.filter(unfit) : [], {
    problem: "compressed-tensors 0.17 and 0.18 read partial blocks, and a lone column of blocks, wrong",
    remedy: `install compressed-tensors 0.19 or later, or ${readable(facts)}`,
    file: "compressed_tensors/quantization/lifecycle/forward.py",
  });
}

/** It takes the size of a block from the number of scales: 192 rows with 2 of them for blocks of 96. */
function unevenBlocks({ layout, matrices }: OutputFacts): Problem[] {
  return problemOf(layout === "fp8_block128" ? matrices.filter(isUneven) : [], {
    problem: `it takes blocks for smaller than ${BLOCK} where rows or columns end inside one: wrong scales, or an error`,
    remedy: "write ct_fp8_channel",
    file: "integrations/finegrained_fp8.py",
  });
}

/** compressed-tensors makes single experts of Llama 4's, which then are not in the file: they are left at random. */
function llama4Experts(facts: OutputFacts): Problem[] {
  const stacked = CT.test(facts.layout) && isLlama4(facts) ? stackedExperts(facts) : [];
  return problemOf(
    stacked.map((name) => ({ name })),
    {
      problem: "with compressed-tensors it looks for single experts of Llama 4, and leaves them at random",
      remedy: "write fp8_block128",
      file: "quantizers/base.py",
    },
  );
}

export const transformers: ReaderRules = {
  name: "transformers",
  version: "5.20.2",
  known: "loaded",
  problems: (facts) => [
    ...ownLayout(facts, "quantizers/auto.py"),
    ...bareCodes(facts),
    ...blockExperts(facts),
    ...partialBlocks(facts),
    ...unevenBlocks(facts),
    ...llama4Experts(facts),
  ],
};
