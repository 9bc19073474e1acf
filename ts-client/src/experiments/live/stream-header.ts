/** The first line of a sample stream: what a running engine compares, and on what. */
import type { OpswapClient } from "../../client/types.js";
import type { SampleHeader } from "../samples.js";

/** Asks the engine for all but the arms. */
export async function streamHeader(
  client: OpswapClient,
  arms: Pick<SampleHeader, "op" | "control" | "candidate" | "salt">,
): Promise<SampleHeader> {
  const [manifest, status] = [await client.manifest(), await client.status()];
  const { candidates } = await client.ask("candidates", { op: arms.op });
  const of = (impl: string) => candidates.find((each) => each.impl === impl);
  return {
    kind: "header",
    schema: 1,
    ...arms,
    op_hash: manifest.ops.find(({ op }) => op === arms.op)?.hash ?? "",
    candidate_digest: of(arms.candidate)?.digest || undefined,
    control_dispatch_ns: of(arms.control)?.dispatch_ns,
    candidate_dispatch_ns: of(arms.candidate)?.dispatch_ns,
    build: status.ranks[0]?.build_digest ?? "",
    engine: client.name,
    model: status.framework?.model,
    device: status.version.device_status,
  };
}
