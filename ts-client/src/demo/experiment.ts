/** The demo's experiment: what was switched away from, compared with what serves now, by the verbs that a user has. */
import { execFile } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { DemoError } from "./server.js";

const CLI = fileURLToPath(new URL("../opswap.cjs", import.meta.url));
const run = promisify(execFile);
export const NAME = "npm-start";

/** An experiment of the demo on one engine. `share` of all calls are compared. */
export class Experiment {
  private constructor() {}

  /** Applies it and starts it in the background. */
  static async start(
    engine: string,
    arms: { op: string; control: string; candidate: string },
    share: string,
  ): Promise<Experiment> {
    const folder = mkdtempSync(path.join(tmpdir(), "opswap-demo-"));
    try {
      const file = path.join(folder, `${NAME}.json`);
      const head = { kind: "Experiment", schema: 1, name: NAME, owner: "npm start", ...arms };
      const sampling = { share, budget: "20%" };
      const analysis = { interval: "1s", timeout: "1h", coverage: "99%" };
      writeFileSync(file, JSON.stringify({ ...head, sampling, analysis, on_fail: "rollback" }));
      await opswap(["ab", "apply", "-f", file, "--engine", engine]);
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
    await opswap(["ab", "start", NAME, "--engine", engine]);
    return new Experiment();
  }

  /** Where it stands, as lines. */
  async status(): Promise<string[]> {
    return (await opswap(["ab", "status", NAME])).trimEnd().split("\n");
  }

  /** Waits for its verdict, `seconds` at most. */
  async watch(seconds: number): Promise<void> {
    await run(process.execPath, [CLI, "ab", "watch", NAME], { timeout: 1_000 * seconds }).catch(() => {});
  }

  /** One that has its verdict has nothing to stop. */
  async stop(): Promise<void> {
    await run(process.execPath, [CLI, "ab", "stop", NAME]).catch(() => {});
  }
}

/** What a verb printed; a refusal is the demo's failure, in the verb's own words. */
async function opswap(words: readonly string[]): Promise<string> {
  try {
    return (await run(process.execPath, [CLI, ...words])).stdout;
  } catch (thrown) {
    const { stderr, message } = thrown as { stderr?: string; message: string };
    throw new DemoError(`opswap ${words.join(" ")}: ${stderr?.trim() || message}`);
  }
}
