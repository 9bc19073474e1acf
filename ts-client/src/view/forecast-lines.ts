/** What an experiment can show, as lines for people. */
import { count } from "./format.js";
import { table } from "./table.js";

/** What is shown of a forecast; `source` says where its spreads are from. */
export interface ShownForecast {
  source: string;
  buckets: readonly {
    bucket: string;
    spread: number;
    detectable: number | undefined;
    toPass: number | undefined;
    slowdowns: readonly { slowdown: number; samples: number | undefined }[];
  }[];
}

export function forecastLines({ buckets, source }: ShownForecast): string[] {
  const [first] = buckets;
  if (first === undefined) return [];
  const slowdowns = first.slowdowns;
  const columns = [
    { head: "bucket" },
    { head: "spread", right: true },
    { head: "finds at its end", right: true },
    { head: "equal passes after", right: true },
    ...slowdowns.map(({ slowdown }) => ({ head: `${percent(slowdown)} after`, right: true })),
  ];
  const rows = buckets.map((one) => [
    one.bucket,
    percent(one.spread),
    one.detectable === undefined ? "nothing" : `${percent(one.detectable)} slower`,
    number(one.toPass),
    ...one.slowdowns.map(({ samples }) => number(samples)),
  ]);
  return [
    ...table(columns, rows),
    `spread of a block of two samples, ${source}; numbers are samples of the bucket, in nine of ten runs`,
  ];
}

const number = (samples: number | undefined) => (samples === undefined ? "never" : count(samples));
/** A share with three digits. */
export const percent = (share: number) => `${Number((100 * share).toPrecision(3))}%`;
