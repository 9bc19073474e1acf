// Writers of one audit file killed by -9 at random points, for `ab`: `node _ab_audit.mjs KILLS` prints JSON.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { uniform } from "./_series.mjs";

const { FileAudit } = await import("../../dist/experiments/index.js");
const script = join(import.meta.dirname, "../experiments/_audit-writer.mjs");
const kills = Number(process.argv[2]);
const WRITERS = 4;
/** A writer lives for so long after its first record, ms. */
const LIFE = 30;
const dir = mkdtempSync(join(tmpdir(), "opswap-audit-"));
const audit = new FileAudit(dir);
const next = uniform(2026);
const found = { kills: 0, acknowledged: 0, lost: 0, broken: 0, unfinished: 0 };

/** The number of the last record that a writer said is kept. */
async function killedWriter() {
  const child = spawn(process.execPath, [script, dir], { stdio: ["ignore", "pipe", "inherit"] });
  let text = "";
  child.stdout.on("data", (chunk) => {
    text += chunk;
  });
  await once(child.stdout, "data");
  await sleep(LIFE * next());
  child.kill("SIGKILL");
  await once(child, "close");
  found.kills++;
  const told = text.split("\n").slice(0, -1).map(Number);
  found.acknowledged += told.length;
  return Math.max(...told);
}

try {
  while (found.kills < kills) {
    const last = await Promise.all(Array.from({ length: WRITERS }, killedWriter));
    const { broken, unfinished, head } = audit.verified();
    if (broken !== null) found.broken++;
    if (unfinished > 0) found.unfinished++;
    // Records are numbered: with all that were acknowledged, there are at least as many as the highest number.
    if (head.records < Math.max(...last)) found.lost++;
  }
  console.log(
    JSON.stringify({
      lost: found.lost,
      broken: found.broken,
      reach: 0,
      ...found,
      records: audit.verified().head.records,
    }),
  );
} finally {
  rmSync(dir, { recursive: true, force: true });
}
