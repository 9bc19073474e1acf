/** The recorded call once more, in a process that is not the engine's. */
import type { Located } from "../../bisect/calls.js";
import type { Replayed } from "../../bisect/lines.js";
import { connectLocal } from "../../client/index.js";
import { asRefusal } from "../../types/refusal.js";
import { replay } from "../replayed.js";

/** What the library of this process makes of it; why it does not where it has not both implementations. */
export async function replayed(
  { recorded }: Located,
  { now, against }: { now: string; against: string },
): Promise<Replayed | null> {
  if (recorded === null) return null;
  try {
    const client = await connectLocal();
    try {
      const { arms } = await replay(client, recorded.file, { impl: [against, now], worst: 1 });
      return { arms, reason: null };
    } finally {
      await client.close();
    }
  } catch (thrown) {
    return { arms: [], reason: asRefusal(thrown).message };
  }
}
