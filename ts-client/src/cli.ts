/** The command line: finds the verb, parses its options, and turns what is thrown into a message and an exit code. */
import { Command, CommanderError } from "commander";
import { type Context, EXIT, type ExitCode, type Io } from "./commands/context.js";
import { report } from "./commands/errors.js";
import { asUsageError, refuseUnknownVerb } from "./commands/usage.js";
import { packageVersion } from "./version.js";

type Verb = (context: Context) => Command;

/** Each verb's file is read when the verb is asked for: most of a short command's time is code that is loaded. */
const VERBS: Record<string, () => Promise<Verb>> = {
  ops: async () => (await import("./commands/ops.js")).opsCommand,
  why: async () => (await import("./commands/why.js")).whyCommand,
  use: async () => (await import("./commands/use.js")).useCommand,
  reset: async () => (await import("./commands/reset.js")).resetCommand,
  register: async () => (await import("./commands/register.js")).registerCommand,
  candidates: async () => (await import("./commands/candidates.js")).candidatesCommand,
  "build-key": async () => (await import("./commands/build-key.js")).buildKeyCommand,
  status: async () => (await import("./commands/status.js")).statusCommand,
  doctor: async () => (await import("./commands/doctor.js")).doctorCommand,
  call: async () => (await import("./commands/call.js")).callCommand,
  shadow: async () => (await import("./commands/shadow.js")).shadowCommand,
  record: async () => (await import("./commands/record.js")).recordCommand,
  replay: async () => (await import("./commands/replay.js")).replayCommand,
  quarantine: async () => (await import("./commands/quarantine.js")).quarantineCommand,
  manifest: async () => (await import("./commands/manifest.js")).manifestCommand,
  sidecar: async () => (await import("./commands/sidecar.js")).sidecarCommand,
  console: async () => (await import("./commands/console.js")).consoleCommand,
  tune: async () => (await import("./commands/tune.js")).tuneCommand,
  evidence: async () => (await import("./commands/evidence.js")).evidenceCommand,
  convert: async () => (await import("./commands/convert.js")).convertCommand,
  panic: async () => (await import("./commands/panic.js")).panicCommand,
  freeze: async () => (await import("./commands/freeze.js")).freezeCommand,
  bisect: async () => (await import("./commands/bisect.js")).bisectCommand,
  ab: async () => (await import("./commands/ab.js")).abCommand,
  audit: async () => (await import("./commands/audit.js")).auditCommand,
};

/** The verb that these arguments name; all of them where none is named, for help and for a hint. */
function verbsFor(args: readonly string[]): Promise<Verb[]> {
  const word = args.find((arg) => !arg.startsWith("-")) ?? "";
  const load = Object.hasOwn(VERBS, word) ? VERBS[word] : undefined;
  return Promise.all((load ? [load] : Object.values(VERBS)).map((each) => each()));
}

const EXIT_CODES = `
Exit codes:
  0  done
  1  failed, refused, or not healthy
  2  the command line is wrong: an unknown verb, option, op, implementation or file
  3  nothing to talk to: no engine, no sidecar, or no native library
  4  undecided: an experiment ended, or was stopped, before anything followed from its samples`;

/** The command line, ready to parse `args`. */
async function program(context: Context, args: readonly string[]): Promise<Command> {
  const root = new Command("opswap")
    .description("see which kernels an inference engine runs, and switch them while it serves")
    .version(packageVersion(), "-V, --version")
    .addHelpText("after", EXIT_CODES);
  for (const verb of await verbsFor(args)) root.addCommand(verb(context));
  configure(root, "opswap", context.io);
  return root;
}

/** What every command does alike, those below others too. */
function configure(command: Command, called: string, io: Io): void {
  command.exitOverride((error) => {
    throw /^commander\.(help|version)/.test(error.code) ? error : asUsageError(error, called);
  });
  command.configureOutput({
    writeOut: (text) => io.out(text.trimEnd()),
    writeErr: (text) => io.err(text.trimEnd()),
    // Told where every refusal is.
    outputError: () => {},
  });
  command.addHelpText("before", () => {
    refuseUnknownVerb(command, called);
    return "";
  });
  for (const below of command.commands) configure(below, `${called} ${below.name()}`, io);
}

/** Runs one command line; never throws. */
export async function main(args: readonly string[], io: Io): Promise<ExitCode> {
  const context: Context = { io, exitCode: EXIT.ok };
  try {
    await (await program(context, args)).parseAsync([...args], { from: "user" });
    return context.exitCode;
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? EXIT.ok : EXIT.usage;
    return report(io, args.includes("--json"), error);
  }
}
