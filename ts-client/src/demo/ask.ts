/**
 * Asks the served model a question, and compares two answers: their tokens, and the log-probabilities of
 * these.
 */
import { z } from "zod";
import { MODEL_NAME } from "./launch.js";
import { DemoError } from "./server.js";

/** A model this small is nearly undecided on many prompts; on this one every token is far ahead of the next. */
export const QUESTION = "What is the capital of France? Answer in one sentence.";
const SYSTEM = "You are a helpful assistant.";

const completion = z.object({
  choices: z
    .array(
      z.object({
        message: z.object({ content: z.string() }),
        logprobs: z.object({ content: z.array(z.object({ token: z.string(), logprob: z.number() })) }),
      }),
    )
    .min(1),
});

export interface Answer {
  text: string;
  tokens: string[];
  logprobs: number[];
  seconds: number;
}

/** Asks the served model, greedily, so that two answers can be compared; with a `salt` of its own none of its KV is cached. */
export async function ask(url: string, question = QUESTION, salt?: string): Promise<Answer> {
  const messages = [
    { role: "system", content: SYSTEM },
    { role: "user", content: question },
  ];
  const how = { max_tokens: 32, temperature: 0, logprobs: true };
  const body = { model: MODEL_NAME, messages, ...how, ...(salt !== undefined && { cache_salt: salt }) };
  const began = performance.now();
  const response = await fetch(`${url}/v1/chat/completions`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(body),
  });
  if (!response.ok) throw new DemoError(`the server answered ${response.status}: ${await response.text()}`);
  const [choice] = completion.parse(await response.json()).choices;
  if (!choice) throw new DemoError("the server gave no answer");
  const { content } = choice.logprobs;
  return {
    text: choice.message.content.trim(),
    tokens: content.map((entry) => entry.token),
    logprobs: content.map((entry) => entry.logprob),
    seconds: (performance.now() - began) / 1_000,
  };
}

/** How far two answers are apart: whether all tokens are equal, and the largest difference of a log-probability. */
export function compare(a: Answer, b: Answer): { same: boolean; largest: number } {
  const same = a.tokens.length === b.tokens.length && a.tokens.every((token, i) => token === b.tokens[i]);
  const differences = a.logprobs.map((value, i) => Math.abs(value - (b.logprobs[i] ?? Number.NaN)));
  return { same, largest: Math.max(0, ...differences) };
}
