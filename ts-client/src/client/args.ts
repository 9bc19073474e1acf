/**
 * Arguments of a call: checks them against the manifest, puts them in the op's order, and runs the call with
 * them.
 */
import type { CallResult } from "../generated/messages.js";
import { type OpArgs, type OpName, opFacts } from "../generated/ops.js";
import { OpswapError } from "../types/errors.js";
import { Quantized } from "../types/quantized.js";
import type { Manifest, ManifestArgument, ManifestOp } from "./manifest.js";
import { didYouMean } from "./nearest.js";
import type { CallArgument, CallOptions, OpswapClient } from "./types.js";

/** The declaration of an op, or an error that names the nearest. */
export function declared(manifest: Manifest, op: string): ManifestOp {
  const found = manifest.ops.find((entry) => entry.op === op);
  if (found) return found;
  const names = manifest.ops.map((entry) => entry.op);
  throw new OpswapError("OPSWAP_E_NO_OP", `no op named ${op}${didYouMean(op, names)}`, {
    remedy: "`opswap manifest --local` lists the ops",
  });
}

/** Named arguments in call order, with defaults for those left out and null for optional tensors. */
export function packArguments(op: ManifestOp, named: Readonly<Record<string, CallArgument | undefined>>) {
  const names = op.args.map((argument) => argument.name);
  const stranger = Object.keys(named).find((name) => !names.includes(name));
  if (stranger !== undefined) {
    throw new OpswapError(
      "OPSWAP_E_ARGUMENT",
      `${op.op}: no argument ${stranger}; it takes ${names.join(", ")}${didYouMean(stranger, names)}`,
    );
  }
  const quantized = op.quantized?.filter(({ data }) => named[data] instanceof Quantized) ?? [];
  const inQuantized = new Set(quantized.map(({ scale }) => scale));
  return op.args.map((argument): CallArgument => {
    const given = named[argument.name] ?? argument.default;
    if (given !== undefined && given !== null) return given;
    if (argument.optional || inQuantized.has(argument.name)) return null;
    throw missingArgument(op.op, argument);
  });
}

export function missingArgument(op: string, { name, kind }: ManifestArgument): OpswapError {
  return new OpswapError("OPSWAP_E_COUNT", `${op}: argument ${name} (${kind}) is missing`);
}

/** Calls an op whose types this client was built with; a library that declares it otherwise is refused. */
export async function run<Name extends OpName>(
  client: OpswapClient,
  op: Name,
  named: OpArgs[Name],
  options: CallOptions = {},
): Promise<CallResult> {
  const found = declared(await client.manifest(), op);
  const { version, hash } = opFacts[op];
  if (found.hash !== hash) {
    throw new OpswapError(
      "OPSWAP_E_MANIFEST",
      `${op}: this client was built for version ${version} (${hash}), the library has ${found.version} (${found.hash})`,
      { remedy: "install the same opswap version on both sides" },
    );
  }
  return client.call(op, packArguments(found, { ...named }), options);
}
