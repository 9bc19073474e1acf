import type { Command } from "commander";
import { connectEngine, connectLocal, type OpswapClient } from "../client/index.js";

/** Exit codes, as `opswap --help` lists them. */
export const EXIT = { ok: 0, failed: 1, usage: 2, unreachable: 3 } as const;
export type ExitCode = (typeof EXIT)[keyof typeof EXIT];

/** Where a verb writes; tests give their own. */
export interface Io {
  out(line: string): void;
  err(line: string): void;
}

/** What `main` hands to every verb. */
export interface Context {
  io: Io;
  /** Set by the verb that ran. */
  exitCode: ExitCode;
}

/** Options of verbs that talk to an engine or to the library in this process. */
export interface Target {
  engine?: string;
  local?: boolean;
  json?: boolean;
}

export function engineOptions(command: Command): Command {
  return command
    .option("-e, --engine <name>", "the engine to talk to; needed when several are running")
    .option("--json", "print JSON");
}

export function targetOptions(command: Command): Command {
  return engineOptions(command).option("--local", "the library in this process instead of an engine");
}

/** Connects, works, and always closes. */
export async function withTarget<T>(target: Target, work: (client: OpswapClient) => Promise<T>): Promise<T> {
  const client = target.local ? await connectLocal() : await connectEngine({ name: target.engine });
  try {
    return await work(client);
  } finally {
    await client.close();
  }
}

/** Prints the result as JSON, or as lines for people. */
export function show<T>(io: Io, json: boolean | undefined, result: T, lines: (result: T) => string[]): void {
  if (json) io.out(JSON.stringify(result, null, 2));
  else for (const line of lines(result)) io.out(line);
}

/** Text for `--help`, below the options. */
export function examples(...lines: string[]): string {
  return `\nExamples:\n${lines.map((line) => `  $ opswap ${line}`).join("\n")}`;
}
