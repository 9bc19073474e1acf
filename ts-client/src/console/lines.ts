/** The console's lines around the table: title, health, hint, and the boxes of help, answers and failures. */
import type { Back } from "../experiments/audit/revert.js";
import { age } from "../view/format.js";
import { LEFT_OUT } from "../view/op-columns.js";
import { groupRanks } from "../view/rank-groups.js";
import { switchLines } from "../view/switch-lines.js";
import { BINDINGS } from "./bindings.js";
import type { Mode, State } from "./state.js";

/** An answer older than this is marked: the numbers on the screen are not the engine's any more. */
const STALE_MS = 5_000;

export type Tone = "plain" | "good" | "warn" | "bad" | "dim" | "title" | "selected";
export interface Line {
  text: string;
  tone: Tone;
  /** Where the text goes on when it takes several lines. */
  hang?: number;
}

/** Whom we look at and whether the numbers are fresh. */
export function titleLine(state: State): string {
  const { status } = state;
  if (!status) return "opswap console";
  const host = status.framework ? ` · ${status.framework.name} ${status.framework.version}` : "";
  const ranks = `${status.ranks.length} rank${status.ranks.length === 1 ? "" : "s"}`;
  return `${status.name}${host} · ${ranks} · epoch ${status.epoch}`;
}

export function healthLine(state: State, now: number): Line {
  const { lost, seen, status } = state;
  if (seen === null)
    return lost
      ? { text: `waiting: ${lost.message}`, tone: "warn" }
      : { text: "connecting ...", tone: "dim" };
  const ago = now - seen;
  if (lost) return { text: `STALE, last seen ${age(ago)} ago: ${lost.message}`, tone: "bad" };
  if (status?.divergence) return { text: `RANKS DIFFER: ${status.divergence}`, tone: "bad" };
  if (ago > STALE_MS) return { text: `STALE, last seen ${age(ago)} ago`, tone: "warn" };
  return { text: "live", tone: "good" };
}

/** What the table says when it has no rows. */
export function emptyLine(state: State): string {
  if (state.seen === null) return state.lost?.remedy ?? "";
  return state.filter
    ? `nothing matches "${state.filter}"; esc clears the filter`
    : "this library has no ops";
}

/** The bottom line: keys that work now. */
export function hintLine(state: State): string {
  const { mode } = state;
  if (mode.kind === "filter") return `/${state.filter}_   enter keeps, esc takes back`;
  if (mode.kind === "confirm" || mode.kind === "confirm-back") return "y switches, n leaves it as it is";
  if (mode.kind === "switching") return "waiting for every rank";
  if (mode.kind === "impls" && mode.choosing) return "up/down choose, enter goes on, esc leaves";
  if (mode.kind !== "table") return "up/down scroll, esc goes back";
  const filter = state.filter ? `filter: ${state.filter} · ` : "";
  return `${filter}${BINDINGS.flatMap(({ hint }) => hint ?? []).join("  ")}`;
}

const KEYS_WIDTH = 20;
/** EPOCH, P50, P99, MEAN and CALLS. */
const listed = (words: readonly string[]) => `${words.slice(0, -1).join(", ")} and ${words.at(-1)}`;
const NOTES = [
  "CALLS are of all implementations; MEAN, P50 and P99 of the active one, over the last half to whole minute. A ! before ACTIVE: ranks differ.",
  `A narrow screen leaves out ${listed(LEFT_OUT.map(({ head }) => head))}, in this order.`,
];

function helpLines(): Line[] {
  const keys = BINDINGS.flatMap(({ keys: named, does }): Line[] =>
    named === null ? [] : [{ text: `${named.padEnd(KEYS_WIDTH)}${does}`, tone: "plain", hang: KEYS_WIDTH }],
  );
  return [...keys, { text: "", tone: "plain" }, ...NOTES.map((text): Line => ({ text, tone: "plain" }))];
}

/** The lines of whatever covers the table. */
export function overlayLines(mode: Mode): Line[] {
  switch (mode.kind) {
    case "help":
      return helpLines();
    case "impls":
      return implLines(mode);
    case "confirm":
      return [{ text: `Switch ${mode.op} from ${mode.active} to ${mode.impl} on every rank?`, tone: "warn" }];
    case "confirm-back":
      return [{ text: backQuestion(mode.back), tone: "warn" }];
    case "switching":
      return [{ text: `Switching ${mode.op} to ${mode.impl} ...`, tone: "plain" }];
    case "switched":
      return switchLines(mode.result).map((text) => ({ text, tone: "good" }));
    case "failed":
      return failureLines(mode);
    default:
      return [];
  }
}

function backQuestion({ record, from, to }: Back): string {
  const each = Object.entries(from).map(([op, impl]) => `${op} from ${to[op]} to ${impl}`);
  return `Switch ${each.join(", ")} on every rank? That takes back record ${record} of the audit.`;
}

function implLines({ op, choosing, why, index }: Extract<Mode, { kind: "impls" }>): Line[] {
  if (!why) return [{ text: `asking about ${op} ...`, tone: "dim" }];
  return groupRanks(why.ranks).flatMap(({ where, why: rank }, group) => {
    const head: Line = { text: `${op} version ${rank.op_version}, ${where}`, tone: "plain" };
    const width = Math.max(14, ...rank.impls.map((impl) => impl.name.length));
    const impls = rank.impls.map((impl, i): Line => {
      const sign = choosing && group === 0 && i === index ? ">" : " ";
      const what = impl.name === rank.active ? "active" : impl.usable ? "usable" : "cannot run";
      const tone = impl.name === rank.active ? "good" : impl.usable ? "plain" : "dim";
      const start = `${sign} ${impl.name.padEnd(width)} ${what.padEnd(11)} `;
      return { text: `${start}${impl.reason}`.trimEnd(), tone, hang: start.length };
    });
    return [head, ...impls];
  });
}

function failureLines({ title, failure }: Extract<Mode, { kind: "failed" }>): Line[] {
  const ranks = failure.ranks.map(({ rank, reason }) => `rank ${rank}: ${reason}`);
  const texts = [title, `${failure.message} [${failure.code}]`, ...ranks, failure.remedy].filter(Boolean);
  return texts.map((text, i) => ({ text, tone: i === 0 ? "bad" : "plain" }));
}
