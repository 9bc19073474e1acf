/** `opswap convert SOURCE OUTPUT`, without a verb. */
import type { Command } from "commander";
import type { Context } from "../context.js";
import { converting } from "./conversion.js";

/** Plan, run and verify. */
export function allCommand(context: Context): Command {
  return converting(context, "all", "convert and verify", true);
}
