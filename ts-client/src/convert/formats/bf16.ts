/** The layout bf16: plain weights, not quantised. */
import type { Format } from "./types.js";

/** Plain weights: every floating tensor in BF16, from whatever it is stored in. */
export const bf16: Format = {
  id: "bf16",
  version: 1,
  summary: "every floating tensor BF16, not quantised, for any engine and as a source of other layouts",
  scales: ["amax"],
  border: 1,
  ranks: { kvScales: false },
  nan: true,
  obstacle: () => undefined,
  encode: ({ name, shape }) => ({
    action: "bf16",
    scheme: { code: "bf16" },
    data: { name, dtype: "BF16", shape },
    scale: null,
  }),
  files: () => ({ config: null, others: {} }),
};
