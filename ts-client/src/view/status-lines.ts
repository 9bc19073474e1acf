/** How servers stand, as lines for people. */
import type { Standing } from "../client/standing.js";
import type { Freeze, Override, StatusResult } from "../generated/messages.js";
import { age } from "./format.js";
import { isolationLine } from "./switch-lines.js";

/** What is known of a server: where it is, and its own account or the reason why it gave none. */
export function standingLines(found: Standing): string[] {
  const head = `${found.service} ${found.name}: ${found.state}, process ${found.pid}, in ${found.folder}`;
  if (!found.status) return [`${head}: ${found.reason}`];
  return [head, ...statusLines(found.status).map((line) => `  ${line}`)];
}

/** All servers that were found, and where they were looked for. */
export function foundLines(all: readonly Standing[], folders: readonly string[]): string[] {
  return [...all.flatMap(standingLines), `looked in ${folders.join(", ")}`];
}

/** An account of one server, one fact a line. */
export function statusLines(status: StatusResult): string[] {
  const { version, framework } = status;
  const host = framework ? [`${framework.name} ${framework.version} serves ${framework.model}`] : [];
  const trial = pairs(status.trial);
  const choice = pairs(status.choice);
  return [
    ...host,
    `opswap ${version.pack_version} (build ${version.build_digest.slice(0, 12)}), ${version.cpu_isa}; ${version.device_status}`,
    ...(version.plans ? [`plan files ${version.plans.slice(0, 12)}`] : []),
    `up ${age(Date.now() - status.started)}, epoch ${status.epoch}, switched: ${choice.join(" ") || "nothing"}`,
    ...(status.restored.outcome === "none" ? [] : [`last run's choice: ${status.restored.message}`]),
    ...(trial.length > 0 ? [`on trial: ${trial.join(" ")}`] : []),
    ...status.barred.map(({ op, impl, reason }) => `BARRED: ${op}=${impl}: ${reason}`),
    ...status.overrides.map(overrideLine),
    ...status.freezes.map(freezeLine),
    ...(status.switching ? ["a switch is under way"] : []),
    ...(status.divergence === null ? [] : [`RANKS DIFFER: ${status.divergence}`]),
    ...(status.isolation ? [`last switch: ${isolationLine(status.isolation)}`] : []),
    ...(status.unanswered ? [`RANKS DO NOT ANSWER: ${status.unanswered}`] : []),
    ...status.ranks.map((rank) => `rank ${rank.rank}: step ${rank.step}, epoch ${rank.epoch}`),
  ];
}

function overrideLine({ op, impl, returns_to: before, left_ms: left, ...about }: Override): string {
  const who = [about.owner, about.ticket, about.reason].filter((part) => part !== "").join(", ");
  return `override: ${op}=${impl}, back to ${before} in ${age(left)}${who === "" ? "" : ` (${who})`}`;
}

/** One freeze. */
export function freezeLine({ name, owner, reason, from_ms: from, until_ms: until, ops }: Freeze): string {
  const begins = from > Date.now() ? ` from ${when(from)}` : "";
  return `FROZEN${begins} until ${when(until)}: ${ops.join(" ") || "all ops"}, ${name} of ${owner}: ${reason}`;
}

/** A time beyond what calendars have is shown as it is. */
function when(ms: number): string {
  const date = new Date(ms);
  return Number.isNaN(date.getTime()) ? `${ms} ms` : date.toISOString();
}

function pairs(choice: Record<string, string>): string[] {
  return Object.entries(choice).map(([op, impl]) => `${op}=${impl}`);
}
