/** `opswap register`: a user's own kernel, or a second build, into a running engine. */
import path from "node:path";
import { Command } from "commander";
import { withTarget } from "../client/target.js";
import { candidateLines } from "../view/candidate-lines.js";
import { type Context, EXIT, engineOptions, examples, show, type TargetOptions } from "./context.js";
import { recorded } from "./recorded.js";

interface Options extends TargetOptions {
  op?: string;
  as?: string;
  function?: string;
}

/** Another process and every rank load it, which may compile something. */
const TIMEOUT_MS = 300_000;
const MOST_ACTION = 1_000;

export function registerCommand(context: Context): Command {
  const command = new Command("register")
    .description("have a running engine load a Python kernel, or a second build of opswap, without using it")
    .argument(
      "<path>",
      "a file *.py, or the folder of a build, in a folder that the engine's configuration lists",
    )
    .option("--op <op>", "the op that a Python file computes")
    .option("--as <name>", "the name under which it is listed; a build has one of its own")
    .option("--function <name>", "in a Python file; that of the op's name, else its only public one")
    .addHelpText(
      "after",
      examples("register /srv/kernels/silu.py --op silu_and_mul --as mine", "register /srv/kernels/build-7"),
    );
  return engineOptions(command).action(async (file: string, options: Options) => {
    const { op, as: name, function: called } = options;
    const request = {
      path: path.resolve(file),
      ...(op !== undefined && { op }),
      ...(name !== undefined && { name }),
      ...(called !== undefined && { function: called }),
    };
    const told = { action: `register ${request.path}`.slice(0, MOST_ACTION), why: said(op, name) };
    const result = await recorded(context.io, told, (record) =>
      withTarget(options, async (client) => {
        record.engine = client.name;
        return client.ask("register", request, { timeoutMs: TIMEOUT_MS });
      }),
    );
    show(context.io, options.json, result, ({ candidates }) => candidateLines(candidates));
    context.exitCode = EXIT.ok;
  });
}

function said(op: string | undefined, name: string | undefined): string {
  return op === undefined ? "a second build" : `${op}${name === undefined ? "" : ` as ${name}`}`;
}
