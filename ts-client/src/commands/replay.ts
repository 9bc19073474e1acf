/** `opswap replay`. */
import { Command } from "commander";
import {
  type CallArgument,
  connectLocal,
  connectSidecar,
  declared,
  type ManifestOp,
  type OpswapClient,
  type OpTensor,
} from "../client/index.js";
import { type Recording, readRecording } from "../tensorfile/index.js";
import { fileError } from "../tensorfile/types.js";
import { values } from "../tensorfile/values.js";
import { difference } from "../view/difference.js";
import { type ReplayedArm, type ReplayReport, replayLines } from "../view/replay-lines.js";
import { type Context, EXIT, examples, localOption, show } from "./context.js";
import { countOption } from "./count-option.js";

interface Options {
  impl: string[];
  worst: number;
  local?: boolean;
  sidecar?: string;
  json?: boolean;
}

export function replayCommand(context: Context): Command {
  return new Command("replay")
    .description("make a recorded call again on several implementations, and compare what they write")
    .argument("<file>", "a recording, docs/recordings.md")
    .requiredOption("-i, --impl <names>", "implementations, the first one is the yardstick", names)
    .option("--worst <n>", "elements to show of each output", countOption, 5)
    .addOption(localOption("a sidecar", "sidecar"))
    .option("--sidecar <name>", "the sidecar of this name; the one named sidecar when left out")
    .option("--json", "print JSON")
    .addHelpText("after", "\nExits with 1 where an output is beyond the op's tolerance of the first one's.")
    .addHelpText("after", examples("replay rms_norm-T16-H1024-bfloat16-1.safetensors --impl ref,cpu"))
    .action(async (file: string, options: Options) => {
      const { local, sidecar } = options;
      const client = await (local ? connectLocal() : connectSidecar(sidecar ? { name: sidecar } : {}));
      try {
        const report = await replay(client, file, options);
        show(context.io, options.json, report, replayLines);
        context.exitCode = report.arms.every(({ outside }) => outside === 0) ? EXIT.ok : EXIT.failed;
      } finally {
        await client.close();
      }
    });
}

function names(text: string): string[] {
  return text.split(",").filter((name) => name !== "");
}

/** Runs a recording on each implementation. */
export async function replay(
  client: OpswapClient,
  file: string,
  options: Pick<Options, "impl" | "worst">,
): Promise<ReplayReport> {
  const recording = readRecording(file);
  const op = declared(await client.manifest(), recording.op);
  if (op.version !== recording.opVersion)
    throw fileError(
      file,
      `was recorded with version ${recording.opVersion} of ${op.op}, the library here has ${op.version}`,
      "replay it with the library of its own version",
    );
  const [yardstick = "", ...others] = options.impl;
  const expected = await run(client, op, recording, yardstick);
  const arms: ReplayedArm[] = [];
  for (const impl of others) {
    const got = await run(client, op, recording, impl);
    for (const [name, one] of got) arms.push(compared(op, impl, name, one, expected, options.worst));
  }
  return { file, op: op.op, bucket: recording.bucket, yardstick, arms };
}

/** A copy of what an implementation wrote, by argument. */
type Written = Map<string, { dtype: string; shape: readonly number[]; values: Float64Array }>;

async function run(
  client: OpswapClient,
  op: ManifestOp,
  recording: Recording,
  impl: string,
): Promise<Written> {
  const made = new Map<string, OpTensor>();
  const args: CallArgument[] = recording.args.map((arg) => {
    if ("value" in arg) return arg.value;
    const tensor = client.tensor(arg.dtype, arg.shape);
    // What the op does not write stands out: NaN in every floating dtype.
    if (arg.bytes === null) tensor.bytes.fill(0xff);
    else tensor.bytes.set(arg.bytes);
    made.set(arg.name, tensor);
    return tensor;
  });
  await client.call(op.op, args, { impl });
  const written = op.args.filter(({ name, writes }) => writes && made.has(name));
  return new Map(
    written.map(({ name }) => {
      const { dtype, shape, bytes } = made.get(name) as OpTensor;
      return [name, { dtype, shape, values: values(dtype, bytes) }];
    }),
  );
}

function compared(
  op: ManifestOp,
  impl: string,
  output: string,
  got: { dtype: string; shape: readonly number[]; values: Float64Array },
  expected: Written,
  most: number,
): ReplayedArm {
  const limits = op.tolerance?.[got.dtype] ?? { atol: 0, rtol: 0 };
  const right = expected.get(output)?.values ?? new Float64Array();
  return { impl, output, ...difference(got.values, right, got.shape, limits, most) };
}
