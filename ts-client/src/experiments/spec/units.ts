/** Shares and durations as experiments write them: 1%, 30s, 24h. */
import { z } from "zod";

const PERCENT = /^(\d+(?:\.\d+)?)%$/;
const DURATION = /^(\d+(?:\.\d+)?)(ms|s|m|h|d)$/;
const MILLISECONDS = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 };

/** "1%" or 0.01 as 0.01; above 0 and at most 1. */
export const share = z
  .union([z.number(), z.string().regex(PERCENT, 'a share such as "1%" or 0.01')])
  .transform((given) => (typeof given === "number" ? given : Number(given.slice(0, -1)) / 100))
  .refine((given) => given > 0 && given <= 1, "a share above 0 and at most 1");

/** "30s" as 30,000 milliseconds. */
export const duration = z
  .string()
  .regex(DURATION, 'a duration such as "30s", "5m" or "24h"')
  .transform((given) => {
    const [, number = "", unit = "s"] = DURATION.exec(given) ?? [];
    return Number(number) * MILLISECONDS[unit as keyof typeof MILLISECONDS];
  });
