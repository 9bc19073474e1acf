/**
 * Runs the command line in this process: prints to its streams, catches what nothing else caught, sets the
 * exit code.
 */
import { main } from "./cli.js";
import { EXIT, type Io } from "./commands/context.js";
import { report } from "./commands/errors.js";

const io: Io = { out: (line) => console.log(line), err: (line) => console.error(line) };
// A reader that goes away, such as `head`, is not an error.
process.stdout.on("error", (error: NodeJS.ErrnoException) =>
  process.exit(error.code === "EPIPE" ? EXIT.ok : report(io, false, error)),
);
// A verb that has something to put back minds a terminal that goes away, and ends by itself.
process.stderr.on("error", () => process.emit("SIGHUP") || process.exit(EXIT.failed));
// What no verb waits for.
process.on("uncaughtException", (error) => process.exit(report(io, false, error)));
// A limit on the size of files is then an error of the call that passes it, and not the end of the process.
process.on("SIGXFSZ", () => {});
void main(process.argv.slice(2), io).then((code) => {
  process.exitCode = code;
});
