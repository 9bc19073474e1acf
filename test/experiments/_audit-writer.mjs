// Appends records to the audit in the folder that it is given until it is killed, and prints the number of each that is kept.
import { FileAudit } from "../../dist/experiments/index.js";

const audit = new FileAudit(process.argv[2] ?? "");
const entry = {
  who: { user: "writer", uid: process.pid, host: "here" },
  action: "use",
  outcome: /** @type {const} */ ("asked"),
  engine: null,
  from: null,
  to: { op: "x".repeat(2000) },
  why: null,
  ticket: null,
  epoch: null,
  build: null,
  error: null,
};
for (;;) process.stdout.write(`${await audit.append(entry)}\n`);
