import type { Source } from "../source.js";
import { withScales } from "./fp8.js";
import { withoutActivations } from "./left-out.js";

/** A source as its weights are read: codes with what they are multiplied by, and without what no output holds. */
export function readable(source: Source): Source {
  if (source.kind === "gguf") return source;
  const scaled = withScales(source);
  return withoutActivations(scaled, scaled.fp8 === true);
}
