/** For verbs that switch: the options of the audit, and a switch that is in it. */
import { type Command, InvalidArgumentError } from "commander";
import type { OpswapClient } from "../client/types.js";
import { type Asked, auditedSwitch } from "../experiments/audit/audited-switch.js";
import { FileAudit } from "../experiments/audit/file-store.js";
import { stateFolder } from "../experiments/state-folder.js";
import type { UseResult } from "../generated/messages.js";
import type { OpswapError } from "../types/errors.js";
import { errorLines } from "../view/error-lines.js";
import type { Io } from "./context.js";

export interface AuditOptions {
  reason?: string;
  ticket?: string;
}

export function auditOptions(command: Command): Command {
  return command
    .option("--reason <text>", "why, for the audit and, of `use`, the engine's log", textOption)
    .option("--ticket <id>", "the ticket that it belongs to, for the audit", textOption);
}

/** A text that a record and a request take. */
export function textOption(text: string): string {
  if (text.length === 0 || Buffer.byteLength(text) > 512)
    throw new InvalidArgumentError("a text of 1 to 512 bytes");
  return text;
}

/** `change` by way of this user's audit; where that cannot be written it goes on, and says so. */
export function inAudit<Result extends Pick<UseResult, "acks" | "epoch" | "changes">>(
  io: Io,
  asked: Asked,
  { reason: why, ticket }: AuditOptions,
  change: (client: OpswapClient) => Promise<Result>,
  { afterwards }: { afterwards?: boolean } = {},
): (client: OpswapClient) => Promise<Result> {
  const store = new FileAudit(stateFolder());
  const unaudited = (error: OpswapError) => {
    for (const line of errorLines(error)) io.err(line);
    io.err("  the switch goes on, but is not whole in the audit");
  };
  return (client) =>
    auditedSwitch(client, store, asked, { why, ticket, afterwards, unaudited }, () => change(client));
}
