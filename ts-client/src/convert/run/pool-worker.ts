/** A process of --workers: converts one part and tells its events. */
import { asRefusal } from "../../types/refusal.js";
import { makePlan } from "../plan/plan.js";
import { openSource } from "../source/open.js";
import { type Task, task, type WorkerMessage } from "./pool.js";
import { runPart } from "./run.js";

const tell = (message: WorkerMessage) => process.send?.(message);

async function convertPart({
  source,
  output,
  options,
  tokenizer,
  part,
  ...partOptions
}: Task): Promise<void> {
  const plan = makePlan(openSource(source, tokenizer), options);
  await runPart(plan, output, part, partOptions, (event) => tell({ event }));
}

function describe(error: unknown): WorkerMessage {
  const { code, message, remedy } = asRefusal(error);
  return { error: { code, message, remedy } };
}

// A limit on the size of files is then an error of the call that passes it, and not the end of the process.
process.on("SIGXFSZ", () => {});

/** A worker without its parent would go on unseen. */
const orphaned = () => process.exit(1);
process.once("disconnect", orphaned);
process.once("message", (given) => {
  convertPart(task.parse(given)).then(
    () => {
      process.off("disconnect", orphaned);
      process.disconnect();
    },
    (error: unknown) => {
      process.exitCode = 1;
      process.send?.(describe(error), () => process.exit(1));
    },
  );
});
