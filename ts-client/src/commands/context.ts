/** What all verbs share: exit codes, output, and options that name an engine or a sidecar. */

import { type Command, Option } from "commander";
import type { Target } from "../client/target.js";
import { jsonPieces } from "../view/json-lines.js";

/** Exit codes, as `opswap --help` lists them. */
export const EXIT = { ok: 0, failed: 1, usage: 2, unreachable: 3, undecided: 4 } as const;
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

/** Options of verbs that talk to an engine, to a sidecar or to the library in this process. */
export interface TargetOptions extends Target {
  json?: boolean;
}

export function engineOptions(command: Command): Command {
  return command
    .option("-e, --engine <name>", "the engine to talk to; needed when several are running")
    .option("--json", "print JSON");
}

export function localOption(what: string, ...others: string[]): Option {
  return new Option("--local", `the library in this process instead of ${what}`).conflicts(others);
}

export function targetOptions(command: Command): Command {
  return engineOptions(command).addOption(localOption("an engine", "engine"));
}

/** For what a sidecar answers as well. */
export function sidecarOption(command: Command): Command {
  return command.addOption(
    new Option("--sidecar <name>", "a running sidecar instead of an engine").conflicts(["engine", "local"]),
  );
}

/** Prints the result as JSON, or as lines for people. */
export function show<T>(io: Io, json: boolean | undefined, result: T, lines: (result: T) => string[]): void {
  for (const line of json ? jsonPieces(result) : lines(result)) io.out(line);
}

/** Text for `--help`, below the options. */
export function examples(...lines: string[]): string {
  return `\nExamples:\n${lines.map((line) => `  $ opswap ${line}`).join("\n")}`;
}
