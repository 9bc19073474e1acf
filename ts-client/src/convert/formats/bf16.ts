import type { Format } from "./types.js";

/** Plain weights: every floating tensor in BF16, from whatever it is stored in. */
export const bf16: Format = {
  id: "bf16",
  version: 1,
  summary: "every floating tensor BF16, not quantised, for any engine and as a source of other layouts",
  scheme: "bf16",
  block: [1, 1],
  outputs: ({ name, shape }) => ({ data: { name, dtype: "BF16", shape }, scale: null }),
  config: () => null,
};
