/** One bisect on one engine, from the first answer to the last. */
import { bisect, type Guilty } from "../../bisect/bisect.js";
import { type Located, locate } from "../../bisect/calls.js";
import { type Answer, apart } from "../../bisect/compare.js";
import type { Completions } from "../../bisect/completions.js";
import type { Report } from "../../bisect/lines.js";
import { called, callsOf, type Ops, opsToTest } from "../../bisect/tested-ops.js";
import type { Manifest, OpswapClient } from "../../client/index.js";
import type { StatusResult } from "../../generated/messages.js";
import { OpswapError } from "../../types/errors.js";
import type { Io } from "../context.js";
import type { AuditOptions } from "../in-audit.js";
import { replayed } from "./replayed.js";
import { withStory } from "./story.js";
import { Switches } from "./switches.js";
import { refuseTraffic, refuseUnfit } from "./window.js";

/** What ends a bisect from outside; SIGHUP is a terminal that went away. */
const SIGNALS = ["SIGINT", "SIGTERM", "SIGHUP"] as const;
/** A prefill, and a step of one token. */
const TOKENS_TO_LOCATE = 2;

export interface Where {
  client: OpswapClient;
  manifest: Manifest;
  status: StatusResult;
  completions: Completions;
}

export interface Asked extends AuditOptions {
  prompt: string;
  against: string;
  tokens: number;
  tolerance: number;
  ops?: string[];
  yes?: boolean;
}

export async function bisectEngine(io: Io, where: Where, asked: Asked): Promise<Report> {
  const stop = new AbortController();
  const interrupt = () => stop.abort(interrupted());
  for (const signal of SIGNALS) process.on(signal, interrupt);
  try {
    const { client, manifest, status } = where;
    await refuseUnfit(
      client,
      status,
      manifest.ops.map(({ op }) => op),
    );
    await refuseTraffic(client, asked.yes === true);
    const answer = (tokens = asked.tokens) => where.completions.answer(asked.prompt, tokens, stop.signal);
    const { first, ops } = await firstLook(where, asked, answer);
    return await withStory(io, client, asked, async () =>
      run(io, where, asked, { answer, first, ops, signal: stop.signal }),
    );
  } catch (thrown) {
    throw stop.signal.aborted ? interrupted() : thrown;
  } finally {
    for (const signal of SIGNALS) process.off(signal, interrupt);
  }
}

const interrupted = () =>
  new OpswapError("OPSWAP_E_BISECT", "it was interrupted", {
    remedy: "run it again; what ran before runs again",
  });

/** The engine as it is: its answer, and the ops that were called for it. */
async function firstLook(
  { client, manifest, status, completions }: Where,
  asked: Asked,
  answer: () => Promise<Answer>,
) {
  const before = await callsOf(client);
  const first = await answer();
  const seen = called(before, await callsOf(client));
  if (seen.length === 0)
    throw new OpswapError(
      "OPSWAP_E_BISECT",
      `${client.name} called no op while ${completions.url} answered`,
      {
        remedy:
          "name the engine that serves there by --engine, or its server by --url; `opswap doctor` says whether it uses opswap",
      },
    );
  const { against, ops: only } = asked;
  const ops = await opsToTest(client, manifest, { seen, against, only, barred: status.barred });
  if (ops.tested.length > 0) return { first, ops };
  const why = ops.untested.map(({ op, reason }) => `${op}: ${reason}`).join("; ");
  throw new OpswapError("OPSWAP_E_BISECT", `no op can be tested against ${asked.against}: ${why}`, {
    remedy: "choose another yardstick with --against",
  });
}

interface Work {
  answer(tokens?: number): Promise<Answer>;
  first: Answer;
  ops: Ops;
  signal: AbortSignal;
}

async function run(
  io: Io,
  where: Where,
  asked: Asked,
  { answer, first, ops, signal }: Work,
): Promise<Report> {
  const { client, status } = where;
  const { tested } = ops;
  const told = (line: string) => io.err(line);
  told(
    `${tested.length} ops are switched to ${asked.against} and back, in sets: ${tested.map(({ op }) => op).join(" ")}`,
  );
  const switches = new Switches({
    ...{ io, client, status, tested, signal },
    about: asked,
    against: asked.against,
  });
  const engine = { to: (on: readonly string[]) => switches.to(on), answer: () => answer() };
  let found: Awaited<ReturnType<typeof bisect>>;
  try {
    found = await bisect(engine, tested, [first, await answer()], { ...asked, told });
  } finally {
    await switches.putBack();
  }
  await refuseChanged(first, await answer(), asked.tolerance);
  const located = await locateAll(where, asked, found.guilty, { answer, ops });
  return { ...found, ...asked, engine: client.name, ...ops, located };
}

/** After a bisect the engine has to answer as before it. */
async function refuseChanged(first: Answer, last: Answer, tolerance: number): Promise<void> {
  const { distance } = apart(first, last);
  if (distance <= tolerance) return;
  throw new OpswapError(
    "OPSWAP_E_BISECT",
    `what ran before runs again, and yet the answer is another one, by ${distance.toPrecision(3)}`,
    { remedy: "`opswap status` and `opswap ops` say what runs; was anything else changed meanwhile?" },
  );
}

/** For each guilty op the calls in which it differs. */
async function locateAll(
  { client }: Where,
  { against }: Asked,
  guilty: readonly Guilty[],
  { answer, ops }: Pick<Work, "answer" | "ops">,
): Promise<Report["located"]> {
  const located: Report["located"] = [];
  for (const op of guilty.flatMap((one) => one.ops)) {
    const now = ops.tested.find((one) => one.op === op)?.now ?? "";
    const found: Located = await locate(client, { op, now, against }, () => answer(TOKENS_TO_LOCATE));
    located.push({ ...found, now, replayed: await replayed(found, { now, against }) });
  }
  return located;
}
