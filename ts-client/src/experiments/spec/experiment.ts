/** Experiments and freezes as files: what they may say. docs/experiment.schema.json is made from this. */
import { z } from "zod";
import { duration, share } from "./units.js";

const NAME = /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/;
/** In Kubernetes and Argo a name is of this form as well. */
const name = z.string().regex(NAME, "a name of a-z, 0-9 and -, 63 letters at most");
const word = z.string().min(1).max(128);
const whole = z
  .int()
  .min(0)
  .max(2 ** 31);

export const METRICS = ["safety", "numerics", "latency"] as const;
export type MetricName = (typeof METRICS)[number];

const GUARDS = { p50: 0.05, p95: 0.1, p99: 0.1, p999: 0.1 };
const quantile = (name: keyof typeof GUARDS) =>
  share
    .default(GUARDS[name])
    .describe(`latency: how far beyond non_inferior the candidate's ${name} may be above control's`);
const guards = { p50: quantile("p50"), p95: quantile("p95"), p99: quantile("p99"), p999: quantile("p999") };

const metric = z.strictObject({
  name: z.enum(METRICS).describe("what is judged; each is judged unless the list leaves it out"),
  failureLimit: whole.default(0).describe("numerics: so many samples beyond the tolerance are forgiven"),
  non_inferior: share.default(0.01).describe("latency: the candidate may be slower by less than this"),
  ...guards,
});

const sampling = z.strictObject({
  share: share.default(0.01).describe("of an op's calls, after the first ones of each bucket"),
  budget: share.default(0.01).describe("the most that both runs may take of the time of a step"),
  first_of_bucket: whole
    .default(200)
    .describe("calls of each shape bucket that are chosen before the share counts"),
  most_of_bucket: whole.min(1).default(20_000).describe("no more calls of one bucket than this"),
  warmup: whole.default(20).describe("times of a bucket's first samples, which are discarded"),
});

const analysis = z.strictObject({
  alpha: share
    .default(0.05)
    .describe("the chance that an experiment without a fault fails, over all buckets and looks"),
  interval: duration.default(30_000).describe("how often the engine's samples are looked at"),
  initialDelay: duration.default(0).describe("time before the first look"),
  coverage: share
    .default(1)
    .describe(
      "the share of samples that have to lie in buckets that pass; those of `buckets` have to pass as well",
    ),
  timeout: duration.optional().describe("an experiment that is not decided by then ends, and control stays"),
  metrics: z
    .array(metric)
    .min(1)
    .refine((all) => new Set(all.map((one) => one.name)).size === all.length, "a metric is there twice")
    .default(METRICS.map((one) => ({ name: one, failureLimit: 0, non_inferior: 0.01, ...GUARDS }))),
});

const guard = z.strictObject({
  lease: duration
    .refine((ms) => ms >= 1_000 && ms <= 3_600_000, "a duration from 1s to 1h")
    .default(30_000)
    .describe("a guarded candidate goes back by itself when nobody has renewed it for so long"),
  decide_within: duration
    .refine((ms) => ms >= 1_000 && ms <= 30 * 86_400_000, "a duration from 1s to 30d")
    .default(86_400_000)
    .describe("a guarded candidate that passed, or whose failure is paused, goes back after this time"),
});

const promotion = z.strictObject({
  ttl: duration
    .refine((ms) => ms >= 1_000 && ms <= 30 * 86_400_000, "a duration from 1s to 30d")
    .optional()
    .describe("a promoted candidate goes back to control after this time; never when left out"),
});

const fresh = <T extends z.ZodType>(schema: T) => schema.prefault({} as z.input<T>);

/** One candidate against one control of one op. */
export const experimentSpec = z
  .strictObject({
    kind: z.literal("Experiment"),
    schema: z.literal(1),
    name,
    op: word.describe("as `opswap manifest` lists them"),
    control: word.describe("the implementation that stays unless the candidate passes"),
    candidate: word.describe("the implementation that is tried; as control, it is an A/A experiment"),
    owner: word.optional(),
    ticket: word.optional(),
    buckets: z
      .array(word)
      .max(1024)
      .default([])
      .describe("buckets without which there is no pass, such as T16 H1024 bfloat16"),
    sampling: fresh(sampling),
    analysis: fresh(analysis),
    guard: fresh(guard),
    promotion: fresh(promotion),
    on_fail: z
      .enum(["rollback", "pause"])
      .default("rollback")
      .describe("back to control, or sampling stops and a person decides"),
  })
  .describe("An experiment of opswap: docs/ab-verdicts.md");

/** While it lasts nothing of these ops is changed by anybody but its owner. */
export const freezeSpec = z
  .strictObject({
    kind: z.literal("Freeze"),
    schema: z.literal(1),
    name,
    owner: word,
    reason: z.string().min(1).max(512),
    from: z.iso.datetime({ offset: true }).optional().describe("from now on when left out"),
    until: z.iso.datetime({ offset: true }).describe("when it ends by itself"),
    ops: z.array(word).max(1024).default([]).describe("all ops when left out"),
  })
  .describe("A freeze of opswap: docs/ab-verdicts.md");

export const specFile = z.discriminatedUnion("kind", [experimentSpec, freezeSpec]);

/** The names of all fields, for what a misspelt one probably meant. */
export const FIELDS = [experimentSpec, freezeSpec, sampling, analysis, metric, guard, promotion].flatMap(
  (one) => Object.keys(one.shape),
);

export type ExperimentSpec = z.output<typeof experimentSpec>;
export type FreezeSpec = z.output<typeof freezeSpec>;
export type SpecFile = z.output<typeof specFile>;

/** The JSON schema of such files, for editors. */
export function jsonSchema(): unknown {
  return z.toJSONSchema(specFile, { io: "input" });
}
