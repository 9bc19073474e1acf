/** Checks what an experiment names against a library: op, implementations, and shape buckets. */
import type { Manifest, ManifestOp } from "../../client/manifest.js";
import { didYouMean } from "../../client/nearest.js";
import type { OpswapClient } from "../../client/types.js";
import type { ImplWhy } from "../../generated/messages.js";
import type { OpswapError } from "../../types/errors.js";
import type { ExperimentSpec, FreezeSpec } from "./experiment.js";
import { type ReadSpec, specError } from "./read-file.js";

type Read<T> = Omit<ReadSpec, "spec"> & { spec: T };

/**
 * Refuses the first name that the library or the running engine behind `client` does not have, with the nearest one that it has. What
 * can run is asked of an engine alone: a library here may be checked for one that runs elsewhere.
 */
export async function checkExperiment(client: OpswapClient, read: Read<ExperimentSpec>): Promise<void> {
  const { spec, file, lineOf } = read;
  const op = checkOp(await client.manifest(), read, spec.op, ["op"]);
  const { ranks } = await client.why(spec.op);
  const impls = ranks.flatMap((rank) => rank.impls);
  for (const arm of ["control", "candidate"] as const) {
    const name = spec[arm];
    const found = impls.filter((impl) => impl.name === name);
    const names = impls.map((impl) => impl.name);
    if (found.length === 0) throw noSuch(read, [arm], `${op.op} has no implementation`, name, names);
    const toggleClass = toggleClassOf(op, name, found);
    if (toggleClass !== "live")
      throw specError(
        file,
        lineOf([arm]),
        `${op.op} ${name} is switched by ${toggleClass}, so no verdict could take it back live`,
      );
    const barred = client.service === "engine" ? found.find(({ usable }) => !usable) : undefined;
    if (barred)
      throw specError(file, lineOf([arm]), `${arm} ${name} cannot run in ${client.name}: ${barred.reason}`);
  }
  for (const [i, bucket] of spec.buckets.entries()) checkBucket(read, op, bucket, ["buckets", i]);
}

/** What the ranks say, the worst of it; of a server that is older, what the manifest says. */
function toggleClassOf(op: ManifestOp, impl: string, rows: readonly ImplWhy[]): string {
  const declared = op.toggle_classes?.[impl] ?? op.toggle_class ?? "live";
  const told = rows.map(({ toggle_class = declared }) => toggle_class);
  return told.find((one) => one === "restart") ?? told.find((one) => one !== "live") ?? "live";
}

/** Refuses an op of a freeze that is not there. */
export function checkFreeze(manifest: Manifest, read: Read<FreezeSpec>): void {
  for (const [i, op] of read.spec.ops.entries()) checkOp(manifest, read, op, ["ops", i]);
}

function checkOp(manifest: Manifest, read: ReadSpec, op: string, path: readonly PropertyKey[]): ManifestOp {
  const found = manifest.ops.find((one) => one.op === op);
  if (found) return found;
  throw noSuch(
    read,
    path,
    "there is no op",
    op,
    manifest.ops.map((one) => one.op),
  );
}

/** A bucket as docs/manifest.md defines it: each symbol with a power of two or 0, then a dtype. */
function checkBucket(read: ReadSpec, op: ManifestOp, bucket: string, path: readonly PropertyKey[]): void {
  const words = bucket.split(" ");
  const dtype = words.pop() ?? "";
  const dtypes = Object.values(op.types ?? {})[0] ?? [];
  if (!dtypes.includes(dtype))
    throw noSuch(read, path, `bucket ${bucket}: ${op.op} takes no dtype`, dtype, dtypes);
  const symbols = symbolsOf(op);
  for (const word of words) {
    const [, symbol = "", size = ""] = /^([A-Za-z_]+)(\d+)$/.exec(word) ?? [];
    if (!symbols.has(symbol))
      throw noSuch(read, path, `bucket ${bucket}: ${op.op} has no size`, symbol || word, symbols);
    if (!isBucketSize(Number(size)))
      throw specError(
        read.file,
        read.lineOf(path),
        `bucket ${bucket}: ${word} is no power of two, which a bucket's sizes are rounded up to`,
      );
  }
}

const isBucketSize = (size: number) => size === 0 || Number.isInteger(Math.log2(size));

/** The letters of an op's shapes. */
function symbolsOf(op: ManifestOp): ReadonlySet<string> {
  return new Set(
    op.args.flatMap(({ shape }) => shape ?? []).flatMap((size) => size.match(/[A-Za-z_]+/g) ?? []),
  );
}

function noSuch(
  read: ReadSpec,
  path: readonly PropertyKey[],
  what: string,
  name: string,
  names: Iterable<string>,
): OpswapError {
  return specError(read.file, read.lineOf(path), `${what} ${name}${didYouMean(name, names)}`);
}
