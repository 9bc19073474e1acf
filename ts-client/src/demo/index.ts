/** `npm start`: serves a small model, asks it, switches an op live, asks again, and compares the two kernels under traffic. */
import { connectEngine, type OpswapClient } from "../client/index.js";
import type { RankOps } from "../generated/messages.js";
import { OpswapError } from "../types/errors.js";
import { errorLines } from "../view/error-lines.js";
import { count } from "../view/format.js";
import { opLines } from "../view/op-lines.js";
import { switchLines } from "../view/switch-lines.js";
import { type Answer, ask, compare, QUESTION } from "./ask.js";
import { Experiment, NAME } from "./experiment.js";
import type { Setup } from "./launch.js";
import { DemoError, Server } from "./server.js";
import { Traffic } from "./traffic.js";

export type { Setup } from "./launch.js";
export { DemoError } from "./server.js";
export { SGLANG } from "./sglang.js";

/** What a Llama step must have run through opswap; a zero here means that the engine went around a seam. */
const MUST_RUN = [
  "rms_norm",
  "fused_add_rms_norm",
  "silu_and_mul",
  "rotary_embedding",
  "reshape_and_cache",
  "attention_prefill",
  "attention_decode",
];
const SWITCH = { op: "silu_and_mul", impl: "ref" };
/** What ran before, compared with it from then on. */
const COMPARED = { op: SWITCH.op, control: SWITCH.impl, candidate: "cpu" };
/** How long a run that ends by itself waits for the verdict. */
const VERDICT_S = 60;

/** Shows progress and prints results. */
export interface DemoOutput {
  say(line: string): void;
  /** Runs a long part under a label; `note` shows what it is at. */
  step<T>(label: string, work: (note: (line: string) => void) => Promise<T>): Promise<T>;
}

/** Serves the model, asks, switches an op live, asks again, and starts traffic and an experiment; with `once` it ends with
 * the verdict, else it stays up. */
export async function runDemo(setup: Setup, once: boolean, output: DemoOutput): Promise<void> {
  const server = await Server.start(setup);
  try {
    await output.step(server.launch.server, (note) => server.ready(note));
    const client = await connectEngine({ name: server.engine });
    let answer: Answer;
    try {
      answer = await show(server, client, output);
    } finally {
      await client.close();
    }
    await underTraffic(server, answer, once, output);
  } catch (error) {
    throw error instanceof OpswapError ? new DemoError(errorLines(error).join("\n")) : error;
  } finally {
    await server.stop();
  }
}

/** Traffic, and an experiment on it. */
async function underTraffic(
  server: Server,
  answer: Answer,
  once: boolean,
  output: DemoOutput,
): Promise<void> {
  const traffic = new Traffic(server.url, answer);
  try {
    const experiment = await Experiment.start(server.engine, COMPARED, once ? "100%" : "2%");
    const { op, control, candidate } = COMPARED;
    output.say("");
    output.say(`experiment ${NAME}: ${op}, ${candidate} against ${control}, both beside the calls of users`);
    if (once) await output.step("verdict", () => experiment.watch(VERDICT_S));
    else await stayUp(server, output);
    for (const line of await experiment.status()) output.say(line);
    await experiment.stop();
  } finally {
    const { answers, differing, failures } = await traffic.stop();
    output.say(
      `${count(answers)} answers meanwhile, ${differing} of them different${failures.length === 0 ? "" : `; ${failures.length} failed: ${failures[0]}`}`,
    );
  }
}

async function show(server: Server, client: OpswapClient, output: DemoOutput): Promise<Answer> {
  const before = await answered(server, output);
  if (!before.text.includes("Paris"))
    throw new DemoError(`expected an answer with Paris in it; got: ${before.text}`);
  const { ranks } = await client.ops();
  output.say("");
  for (const line of opLines(ranks)) output.say(line);
  const idle = MUST_RUN.filter((op) => calls(ranks, op) === 0);
  if (idle.length > 0)
    throw new DemoError(`no call of ${idle.join(", ")} was counted; \`opswap doctor\` says why`);
  await switchLive(server, client, before, output);
  return before;
}

async function answered(server: Server, output: DemoOutput): Promise<Answer> {
  const answer = await ask(server.url);
  output.say("");
  output.say(`question: ${QUESTION}`);
  output.say(`answer:   ${answer.text}   (${answer.tokens.length} tokens in ${answer.seconds.toFixed(2)} s)`);
  return answer;
}

async function switchLive(
  server: Server,
  client: OpswapClient,
  before: Answer,
  output: DemoOutput,
): Promise<void> {
  const { op, impl } = SWITCH;
  const counted = calls((await client.ops(op)).ranks, op, impl);
  const result = await client.use([SWITCH]);
  output.say("");
  for (const line of switchLines(result)) output.say(line);
  const after = await answered(server, output);
  const used = calls((await client.ops(op)).ranks, op, impl) - counted;
  const { same, largest } = compare(before, after);
  output.say(
    `${op} ran on ${impl} ${count(used)} times; answers ${same ? "agree token by token" : "DIFFER"}, log-probabilities within ${largest.toFixed(4)}`,
  );
  if (used === 0) throw new DemoError(`${op} was switched to ${impl}, but no call of it was counted`);
  if (!same) throw new DemoError(`the answers differ: "${before.text}" and "${after.text}"`);
}

/** Calls of an op on all ranks, of one implementation or of all. */
function calls(ranks: readonly RankOps[], op: string, impl?: string): number {
  const rows = ranks.flatMap((rank) => rank.ops).filter((row) => row.op === op);
  const impls = rows.flatMap((row) => row.impls).filter((row) => impl === undefined || row.name === impl);
  return impls.reduce((sum, row) => sum + row.calls, 0);
}

async function stayUp(server: Server, output: DemoOutput): Promise<void> {
  const lines = [
    "",
    `${server.launch.engine} serves on ${server.url}; try in another terminal, in this folder:`,
    "  npx opswap console                      watch and switch",
    `  npx opswap ab watch ${NAME}             the experiment that runs, until its verdict; docs/ab.md`,
    `  npx opswap ab promote ${NAME}           when it has passed`,
    `  npx opswap why ${SWITCH.op}`,
    `  npx opswap use ${SWITCH.op} cpu         take the switch back`,
    "  npx opswap doctor",
    "ctrl-c ends it.",
  ];
  for (const line of lines) output.say(line);
  const interrupted = new Promise<void>((done) => process.once("SIGINT", done).once("SIGTERM", done));
  const outcome = await Promise.race([interrupted.then(() => "stop"), server.ended().then(() => "ended")]);
  if (outcome === "ended") throw new DemoError(`${server.launch.server} ended by itself`);
}
