/** A recorded call, made again on implementations and on the float64 reference, through a client. */
import {
  type CallArgument,
  declared,
  type ManifestOp,
  type OpswapClient,
  type OpTensor,
} from "../client/index.js";
import { type Recording, readRecording } from "../tensorfile/index.js";
import { fileError } from "../tensorfile/types.js";
import { values } from "../tensorfile/values.js";
import { difference } from "../view/difference.js";
import type { ReplayedArm, ReplayReport } from "../view/replay-lines.js";

/** How it is replayed. */
export interface How {
  /** Implementations; without `reference` the first is the yardstick. */
  impl: readonly string[];
  /** Elements to keep of each output. */
  worst: number;
  /** The float64 reference is the yardstick of all. */
  reference?: boolean | undefined;
}

interface Output {
  dtype: string;
  shape: readonly number[];
  values: Float64Array;
}
/** A copy of what was written, by argument. */
type Written = Map<string, Output>;

/** Refused where the file is no recording of an op as the library here has it. */
export async function replay(client: OpswapClient, file: string, how: How): Promise<ReplayReport> {
  const recording = readRecording(file);
  const op = declared(await client.manifest(), recording.op);
  if (op.version !== recording.opVersion)
    throw fileError(
      file,
      `was recorded with version ${recording.opVersion} of ${op.op}, the library here has ${op.version}`,
      "replay it with the library of its own version",
    );
  const runs: [string, Written][] = [];
  for (const impl of how.impl) runs.push([impl, await run(client, op, recording, impl)]);
  const [first, ...others] = runs;
  const right = how.reference ? await truth(client, op, recording) : (first?.[1] ?? new Map());
  const compared = how.reference ? runs : others;
  const arms = compared.flatMap(([impl, got]) => armsOf(op, impl, got, right, how.worst));
  const yardstick = how.reference ? "the float64 reference" : (how.impl[0] ?? "");
  return { file, op: op.op, bucket: recording.bucket, yardstick, arms };
}

/** The arguments, in tensors of the client's; what the op does not write stands out: NaN in every floating dtype. */
function placed(client: OpswapClient, recording: Recording) {
  const made = new Map<string, OpTensor>();
  const args = recording.args.map((arg): CallArgument => {
    if ("value" in arg) return arg.value;
    const tensor = client.tensor(arg.dtype, arg.shape);
    if (arg.bytes === null) tensor.bytes.fill(0xff);
    else tensor.bytes.set(arg.bytes);
    made.set(arg.name, tensor);
    return tensor;
  });
  return { made, args };
}

/** The written arguments that are given. */
function writtenOf(op: ManifestOp, made: ReadonlyMap<string, OpTensor>): string[] {
  return op.args.filter(({ name, writes }) => writes && made.has(name)).map(({ name }) => name);
}

async function run(
  client: OpswapClient,
  op: ManifestOp,
  recording: Recording,
  impl: string,
): Promise<Written> {
  const { made, args } = placed(client, recording);
  await client.call(op.op, args, { impl });
  const written = new Map(writtenOf(op, made).map((name) => [name, outputOf(made.get(name) as OpTensor)]));
  for (const tensor of made.values()) tensor.release();
  return written;
}

async function truth(client: OpswapClient, op: ManifestOp, recording: Recording): Promise<Written> {
  const { made, args } = placed(client, recording);
  const names = writtenOf(op, made);
  const outputs = new Map(
    names.map((name) => [name, client.tensor("float64", (made.get(name) as OpTensor).shape)]),
  );
  await client.reference(op.op, args, Object.fromEntries(outputs));
  const written = new Map(names.map((name) => [name, outputOf(outputs.get(name) as OpTensor)]));
  for (const tensor of [...made.values(), ...outputs.values()]) tensor.release();
  return written;
}

function outputOf({ dtype, shape, bytes }: OpTensor): Output {
  return { dtype, shape: [...shape], values: values(dtype, bytes) };
}

function armsOf(op: ManifestOp, impl: string, got: Written, right: Written, most: number): ReplayedArm[] {
  return [...got].map(([output, { dtype, shape, values: is }]) => {
    const limits = op.tolerance?.[dtype] ?? { atol: 0, rtol: 0 };
    const wanted = right.get(output)?.values ?? new Float64Array();
    return { impl, output, ...difference(is, wanted, shape, limits, most) };
  });
}
