/** `opswap audit`. */
import { Command } from "commander";
import { FileAudit, parseHead, stateFolder, whole } from "../experiments/index.js";
import { boundedText } from "../types/bounded-text.js";
import { auditLines } from "../view/audit-lines.js";
import { collectCommand } from "./audit/collect.js";
import { revertCommand } from "./audit/revert.js";
import { type Context, EXIT, examples, show } from "./context.js";
import { countOption } from "./count-option.js";
import { usageError } from "./usage.js";

const MOST_HEAD = 1 << 20;

export function auditCommand(context: Context): Command {
  return new Command("audit")
    .description("who switched what, when, why and from what; each record is chained to the one before")
    .addHelpText("after", examples("audit show --last 20", "audit verify", "audit collect", "audit revert"))
    .addCommand(showCommand(context))
    .addCommand(verifyCommand(context))
    .addCommand(collectCommand(context))
    .addCommand(revertCommand(context));
}

function showCommand(context: Context): Command {
  return new Command("show")
    .description("print the records, the newest last")
    .option("--last <n>", "only so many", countOption)
    .option("--head", "print the end of the chain alone, to be kept where nobody here can change it")
    .option("--json", "print JSON")
    .addHelpText("after", examples("audit show --last 20", "audit show --head > /elsewhere/head.json"))
    .action(({ last, head, json }: { last?: number; head?: boolean; json?: boolean }) => {
      const found = whole(audit(), audit().verified());
      if (head) return context.io.out(JSON.stringify(found.head));
      const records = last === undefined ? found.records : found.records.slice(-last);
      show(context.io, json, records, auditLines);
      context.exitCode = EXIT.ok;
    });
}

function verifyCommand(context: Context): Command {
  return new Command("verify")
    .description(
      "check that no record was changed, and none cut off; names the first wrong line and exits with 1",
    )
    .option("--head <file>", "the end of the chain as `audit show --head` printed it once")
    .option("--json", "print JSON")
    .addHelpText("after", examples("audit verify", "audit verify --head /elsewhere/head.json"))
    .action(({ head, json }: { head?: string; json?: boolean }) => {
      const known = head === undefined ? undefined : headIn(head);
      const { records, head: end, unfinished } = whole(audit(), audit().verified(known));
      const result = { file: audit().file, records: records.length, digest: end.digest, unfinished };
      show(context.io, json, result, verifiedLines);
      context.exitCode = EXIT.ok;
    });
}

function verifiedLines(found: {
  file: string;
  records: number;
  digest: string;
  unfinished: number;
}): string[] {
  const cut =
    found.unfinished > 0
      ? [
          "its last line is not whole: a writer was killed in it before anybody was told; the next one takes it away",
        ]
      : [];
  return [
    `${found.file}: ${found.records} records, none changed; the last one's digest is ${found.digest}`,
    ...cut,
  ];
}

const audit = () => new FileAudit(stateFolder());

function headIn(file: string) {
  const head = parseHead(boundedText(file, MOST_HEAD) ?? "");
  if (head === undefined)
    throw usageError(`${file} is no head of an audit`, "make one: `opswap audit show --head`");
  return head;
}
