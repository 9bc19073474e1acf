/** Asks a served model by its completions endpoint: greedily, with log-probabilities, on this machine alone. */
import { randomUUID } from "node:crypto";
import { z } from "zod";
import { OpswapError } from "../types/errors.js";
import type { Answer } from "./compare.js";

/** An answer with log-probabilities of a long prompt is some MB. */
const MOST_BYTES = 64 << 20;
/** Less than a bisect's overrides last. */
const ANSWER_TIMEOUT_MS = 100_000;
/** What vLLM gives for a token unless it was started to give more. */
const TOP = 5;

const LOOPBACK = /^(localhost|\[::1\]|127\.\d+\.\d+\.\d+)$/;

const logprob = z.nullable(z.number());
const models = z.object({ data: z.array(z.object({ id: z.string() })).min(1) });
const completion = z.object({
  choices: z
    .array(
      z.object({
        logprobs: z.object({
          tokens: z.array(z.string()),
          token_logprobs: z.array(logprob),
          top_logprobs: z.array(z.nullable(z.record(z.string(), logprob))),
        }),
      }),
    )
    .min(1),
  usage: z.object({ completion_tokens: z.number() }),
});

/** The endpoint of an engine; refuses what is not this machine's. */
export class Completions {
  readonly url: string;
  readonly #model: string;

  private constructor(url: string, model: string) {
    this.url = url;
    this.#model = model;
  }

  static async at(url: string): Promise<Completions> {
    const base = loopback(url);
    const { body } = await ask(`${base}/v1/models`, undefined);
    const model = read(models, body, base).data[0]?.id ?? "";
    return new Completions(base, model);
  }

  /** Asks for `tokens` tokens, with nothing cached from before. */
  async answer(prompt: string, tokens: number, signal?: AbortSignal): Promise<Answer> {
    const request = {
      model: this.#model,
      prompt,
      max_tokens: tokens,
      temperature: 0,
      seed: 0,
      logprobs: TOP,
      echo: true,
      // Of vLLM: no other tokens beside the prompt's.
      prompt_logprobs: 0,
      ignore_eos: true,
      cache_salt: randomUUID(),
    };
    const { status, body } = await ask(`${this.url}/v1/completions`, request, signal);
    // Log-probabilities that are not numbers cannot be sent, which is an outcome as others are.
    if (status === 500) return { prompt: [], tokens: [], failure: body.slice(0, 300) };
    return answerOf(read(completion, body, this.url));
  }
}

function answerOf({ choices: [choice], usage }: z.infer<typeof completion>): Answer {
  if (choice === undefined) throw new Error("the schema takes no empty list");
  const { tokens, token_logprobs: of, top_logprobs: top } = choice.logprobs;
  // The prompt's come first, and there are none where a server has no `echo`.
  const inPrompt = tokens.length - usage.completion_tokens;
  const told = tokens.map((text, i) => ({ text, logprob: number(of[i]), top: numbers(top[i]) }));
  return { prompt: of.slice(0, inPrompt), tokens: told.slice(inPrompt), failure: null };
}

const number = (value: number | null | undefined) => value ?? Number.NaN;

function numbers(top: Record<string, number | null> | null | undefined): Record<string, number> {
  return Object.fromEntries(Object.entries(top ?? {}).map(([text, value]) => [text, number(value)]));
}

/** The URL without its path, if it is this machine's loopback. */
export function loopback(text: string): string {
  if (URL.canParse(text)) {
    const { protocol, hostname, origin } = new URL(text);
    if (protocol === "http:" && LOOPBACK.test(hostname)) return origin;
  }
  throw new OpswapError("OPSWAP_E_USAGE", `expected http:// and a loopback address; got ${text}`, {
    remedy: "run it on the engine's machine, with --url http://127.0.0.1:PORT",
  });
}

async function ask(
  url: string,
  request: unknown,
  signal?: AbortSignal,
): Promise<{ status: number; body: string }> {
  const post = {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(request),
  };
  const limits = [AbortSignal.timeout(ANSWER_TIMEOUT_MS), ...(signal ? [signal] : [])];
  try {
    const how = { ...(request === undefined ? {} : post), signal: AbortSignal.any(limits) };
    const response = await fetch(url, { ...how, redirect: "error" });
    const body = await textOf(response);
    if (!response.ok && response.status !== 500) throw refused(url, response.status, body);
    return { status: response.status, body };
  } catch (thrown) {
    if (thrown instanceof OpswapError) throw thrown;
    const why = thrown instanceof Error ? `${thrown.message}${causeOf(thrown)}` : String(thrown);
    throw new OpswapError("OPSWAP_E_ENDPOINT", `${url}: ${why}`, { cause: thrown });
  }
}

function causeOf({ cause }: Error): string {
  return cause instanceof Error ? `: ${cause.message}` : "";
}

async function textOf(response: Response): Promise<string> {
  const parts: Uint8Array[] = [];
  let size = 0;
  for await (const part of response.body ?? []) {
    size += part.byteLength;
    if (size > MOST_BYTES)
      throw new OpswapError("OPSWAP_E_ENDPOINT", `the answer has more than ${MOST_BYTES} bytes`);
    parts.push(part);
  }
  return Buffer.concat(parts).toString("utf8");
}

function refused(url: string, status: number, body: string): OpswapError {
  return new OpswapError("OPSWAP_E_ENDPOINT", `${url} answered ${status}: ${body.slice(0, 300)}`);
}

function read<Schema extends z.ZodType>(schema: Schema, body: string, url: string): z.infer<Schema> {
  try {
    return schema.parse(JSON.parse(body));
  } catch (cause) {
    const message = `${url} did not answer as an OpenAI-compatible server with log-probabilities does`;
    throw new OpswapError("OPSWAP_E_ENDPOINT", message, { cause });
  }
}
