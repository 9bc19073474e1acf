/** How far two answers to one prompt are apart, by the log-probabilities of their tokens. */

export interface Token {
  text: string;
  logprob: number;
  /** The likeliest tokens at this place, this one too, with their log-probabilities. */
  top: Readonly<Record<string, number>>;
}

export interface Answer {
  /** Log-probabilities of the prompt's own tokens; null where the server gave none. */
  prompt: readonly (number | null)[];
  tokens: readonly Token[];
  /** Why there is no answer: the server could not make one of what the model gave. */
  failure: string | null;
}

/** The first token that two answers do not share. */
export interface Divergence {
  /** From 0, in the answer. */
  index: number;
  /** Null where an answer has ended before. */
  now: { token: string; logprob: number } | null;
  other: { token: string; logprob: number } | null;
}

export interface Apart {
  /**
   * In nats: the root of the mean square of the differences of log-probabilities, of the prompt's tokens or of the
   * answer's up to the first one that differs, whichever is larger. Behind that token nothing can be compared.
   */
  distance: number;
  /** The largest single difference. */
  largest: number;
  /** Places of the answer that were compared. */
  compared: number;
  divergence: Divergence | null;
}

export function apart(now: Answer, other: Answer): Apart {
  if (now.failure !== null || other.failure !== null) {
    const distance = now.failure !== null && other.failure !== null ? 0 : Infinity;
    return { distance, largest: distance, compared: 0, divergence: null };
  }
  const [inPrompt, divergence] = [promptDifferences(now, other), divergenceOf(now, other)];
  const inAnswer = answerDifferences(now, other, divergence);
  return {
    distance: Math.max(rms(inPrompt), rms(inAnswer)),
    largest: Math.max(0, ...inPrompt, ...inAnswer),
    compared: inAnswer.length,
    divergence,
  };
}

function promptDifferences(now: Answer, other: Answer): number[] {
  return now.prompt.flatMap((logprob, i) => {
    const theirs = other.prompt[i] ?? null;
    return logprob === null || theirs === null ? [] : [difference(logprob, theirs)];
  });
}

/** Up to the first token that differs, whose place counts too: both answers had the same before it. */
function answerDifferences(now: Answer, other: Answer, divergence: Divergence | null): number[] {
  const same = now.tokens.slice(0, divergence?.index);
  const differences = same.map(({ logprob }, i) =>
    difference(logprob, other.tokens[i]?.logprob ?? Number.NaN),
  );
  if (divergence === null) return differences;
  const [mine, theirs] = [now.tokens[divergence.index], other.tokens[divergence.index]];
  // One has ended, and how likely that was is not told.
  if (mine === undefined || theirs === undefined) return [...differences, Infinity];
  return [...differences, Math.max(shift(mine, theirs), shift(theirs, mine))];
}

/** How far a token has moved between two answers; what is not among the likeliest is at most as likely as the last of them. */
function shift({ text, logprob }: Token, { top }: Token): number {
  const there = top[text];
  if (there !== undefined) return difference(logprob, there);
  return Math.max(0, logprob - Math.min(...Object.values(top)));
}

function divergenceOf(now: Answer, other: Answer): Divergence | null {
  const most = Math.max(now.tokens.length, other.tokens.length);
  for (let index = 0; index < most; index++) {
    const [mine, theirs] = [now.tokens[index], other.tokens[index]];
    if (mine?.text !== theirs?.text) return { index, now: plain(mine), other: plain(theirs) };
  }
  return null;
}

const plain = (token: Token | undefined) =>
  token === undefined ? null : { token: token.text, logprob: token.logprob };

/** What is not a number in one of two moves it as far as can be. */
function difference(a: number, b: number): number {
  if (a === b || (Number.isNaN(a) && Number.isNaN(b))) return 0;
  const size = Math.abs(a - b);
  return Number.isNaN(size) ? Infinity : size;
}

function rms(values: readonly number[]): number {
  if (values.length === 0) return 0;
  return Math.sqrt(values.reduce((sum, value) => sum + value * value, 0) / values.length);
}
