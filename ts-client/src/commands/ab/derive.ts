/** `opswap ab derive`. */
import { Command } from "commander";
import { type Derivation, deriveAgain } from "../../experiments/index.js";
import { said } from "../../view/said.js";
import { type Context, EXIT, examples, show } from "../context.js";
import { refusalKept } from "../recorded.js";
import { verdictsFolder } from "./judge.js";

const MOST_SHOWN = 20;

export function deriveCommand(context: Context): Command {
  return new Command("derive")
    .description("derive a stored verdict again from its spec and samples; exits 1 where it differs in a bit")
    .argument("<verdict>", "its id, its folder, or its verdict.json")
    .option("--json", "print JSON")
    .addHelpText("after", examples("ab derive 3f1c0a52b7d9e864", "ab derive ./kept/verdict.json"))
    .action(async (named: string, options: { json?: boolean }) => {
      const told = { action: `ab derive ${named}` };
      const derived = await refusalKept(context.io, told, () => deriveAgain(verdictsFolder(), named));
      show(context.io, options.json, derived, derivationLines);
      context.exitCode = derived.differences.length === 0 ? EXIT.ok : EXIT.failed;
    });
}

function derivationLines({ id, place, result, differences }: Derivation): string[] {
  if (differences.length === 0) return [`${id}: ${result}, derived again to the bit from ${place}`];
  const shown = differences
    .slice(0, MOST_SHOWN)
    .map(({ path, stored, derived }) => `  ${path}: stored ${said(stored)}, derived ${said(derived)}`);
  const more = differences.length > MOST_SHOWN ? [`  and ${differences.length - MOST_SHOWN} more`] : [];
  return [
    `${place}: what is stored does not follow from its inputs in ${differences.length} places`,
    ...shown,
    ...more,
  ];
}
