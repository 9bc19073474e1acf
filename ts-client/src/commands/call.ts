/** `opswap call`. */
import { Command } from "commander";
import {
  type CallArgument,
  connectLocal,
  connectSidecar,
  declared,
  type ManifestOp,
  type OpswapClient,
  type OpTensor,
  packArguments,
  type Quantized,
} from "../client/index.js";
import type { CallResult } from "../generated/messages.js";
import { checkTarget, type FileTensor, writeTensors } from "../tensorfile/index.js";
import { duration } from "../view/format.js";
import { isTensor, readArguments, ZEROS } from "./call-arguments.js";
import { tensorsToMake } from "./call-outputs.js";
import { type Context, EXIT, examples, localOption, show } from "./context.js";

interface Options {
  impl?: string;
  save?: string;
  local?: boolean;
  sidecar?: string;
  json?: boolean;
}

/** What a call did, with the tensors it wrote described but not printed. */
interface Report extends CallResult {
  written: { name: string; dtype: string; shape: readonly number[] }[];
  saved: string | null;
}

const HELP = `
A tensor is FILE.npy, FILE.safetensors (the tensor of the argument's name) or FILE.safetensors#NAME; "none" leaves an
optional one out, "zeros" makes one. Tensors that are only written need not be given: their shapes follow from the others
and from what \`opswap manifest OP --local\` says the op needs, as small as it allows. A size that does not follow is given by its
name, such as K=8. A sidecar must be running; --local needs none.
`;

export function callCommand(context: Context): Command {
  return new Command("call")
    .description("run one op on tensors from files, in the sidecar")
    .argument("<op>", "the op")
    .argument("[arguments...]", "NAME=VALUE, by the names that `opswap manifest OP --local` lists")
    .option("-i, --impl <name>", "this implementation, whatever is active")
    .option("-o, --save <file>", "save the written tensors: .safetensors, or .npy for one")
    .addOption(localOption("a sidecar", "sidecar"))
    .option("--sidecar <name>", "the sidecar of this name; the one named sidecar when left out")
    .option("--json", "print JSON")
    .addHelpText("after", HELP)
    .addHelpText("after", examples("call rms_norm input=x.npy weight=w.npy epsilon=1e-5 --save y.npy"))
    .action(async (op: string, words: string[], options: Options) => {
      const { local, sidecar } = options;
      const client = await (local ? connectLocal() : connectSidecar(sidecar ? { name: sidecar } : {}));
      try {
        show(context.io, options.json, await call(client, op, words, options), reportLines);
      } finally {
        await client.close();
      }
      context.exitCode = EXIT.ok;
    });
}

async function call(
  client: OpswapClient,
  name: string,
  words: readonly string[],
  options: Options,
): Promise<Report> {
  const op = declared(await client.manifest(), name);
  const { named, written } = place(client, op, words);
  // Before the work is done, not after it.
  if (options.save !== undefined) checkTarget(options.save, written);
  const result = await client.call(op.op, packArguments(op, named), { impl: options.impl });
  if (options.save !== undefined) writeTensors(options.save, written);
  const tensors = [...written].map(([tensor, { dtype, shape }]) => ({ name: tensor, dtype, shape }));
  return { ...result, written: tensors, saved: options.save ?? null };
}

/** Copies tensors to where the op can reach them, and makes those that it only writes. */
function place(client: OpswapClient, op: ManifestOp, words: readonly string[]) {
  const read = readArguments(op, words);
  const named: Record<string, Exclude<CallArgument, Quantized>> = {};
  for (const [name, { dtype, shape }] of tensorsToMake(op, read))
    named[name] = made(client, dtype, shape, read.given.get(name) === ZEROS);
  for (const [name, value] of read.given)
    if (value !== ZEROS) named[name] = isTensor(value) ? copied(client, value) : value;
  const writes = op.args.filter((argument) => argument.writes).map((argument) => argument.name);
  const written = new Map<string, FileTensor>();
  for (const name of writes) {
    const value = named[name];
    if (typeof value === "object" && value !== null) written.set(name, value);
  }
  return { named, written };
}

function made(client: OpswapClient, dtype: string, shape: readonly number[], zeros: boolean): OpTensor {
  const tensor = client.tensor(dtype, shape);
  if (zeros) tensor.bytes.fill(0);
  return tensor;
}

function copied(client: OpswapClient, { dtype, shape, bytes }: FileTensor): OpTensor {
  const tensor = client.tensor(dtype, shape);
  tensor.bytes.set(bytes);
  return tensor;
}

function reportLines({ op, impl, elapsed_ns, written, saved }: Report): string[] {
  const lines = written.map(({ name, dtype, shape }) => `  ${name}: ${dtype} [${shape.join(", ")}]`);
  return [
    `${op} ran on ${impl} in ${duration(elapsed_ns)}, wrote`,
    ...lines,
    ...(saved ? [`saved ${saved}`] : []),
  ];
}
