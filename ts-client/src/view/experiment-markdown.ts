/** An experiment and its verdict in Markdown, for tickets and reviews. */

/** What is said of it. */
export interface Exported {
  spec: { name: string; op: string; control: string; candidate: string; ticket?: string | undefined };
  run: {
    id: string;
    engine: string;
    mode: string;
    phase: string;
    started: string;
    spec_sha256: string;
  } | null;
  verdict: {
    id: string;
    result: string;
    reason: string;
    samples: { build: string; model?: string | undefined; lines: number };
    buckets: readonly {
      bucket: string;
      result: string;
      reason: string;
      samples: number;
      latency: { mean: number; lower: number; upper: number } | null;
    }[];
  } | null;
}

export function markdown({ spec, run, verdict }: Exported): string[] {
  const ticket = spec.ticket === undefined ? "" : ` (${spec.ticket})`;
  const title = [
    `# ${spec.name}${ticket}`,
    "",
    `\`${spec.op}\`: \`${spec.candidate}\` against \`${spec.control}\`.`,
  ];
  if (run === null || verdict === null) return [...title, "", "No verdict yet."];
  const { build, model, lines } = verdict.samples;
  return [
    ...title,
    "",
    `**${verdict.result}**: ${verdict.reason}`,
    "",
    "| bucket | result | samples | slower by | at least | at most | why |",
    "| --- | --- | ---: | ---: | ---: | ---: | --- |",
    ...verdict.buckets.map(row),
    "",
    `Verdict \`${verdict.id}\` of ${lines} lines; run \`${run.id}\` on \`${run.engine}\`, ${run.mode}, ${run.phase}, started ${run.started}; ` +
      `model ${model ?? "not known"}; build \`${build}\`; spec \`${run.spec_sha256}\`.`,
  ];
}

function row(one: NonNullable<Exported["verdict"]>["buckets"][number]): string {
  const { latency } = one;
  const times = latency === null ? ["-", "-", "-"] : [latency.mean, latency.lower, latency.upper].map(slower);
  const cells = [one.bucket, one.result, String(one.samples), ...times, one.reason.replaceAll("|", "\\|")];
  return `| ${cells.join(" | ")} |`;
}

/** ln(candidate / control) as a share. */
const slower = (log: number) => `${(100 * Math.expm1(log)).toFixed(2)}%`;
