import { existsSync, mkdirSync, readdirSync, rmSync } from "node:fs";
import path from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { buildFaults, contents, convert, differing, readLog, scratch, writeCheckpoint } from "./harness.js";

/** Kill points of a run; more by `OPSWAP_KILLS=200 npx vitest run repack-faults`. */
const KILLS = Number(process.env.OPSWAP_KILLS ?? 6);

const { dir, remove } = scratch();
const blocks = path.join(dir, "blocks");
let library: string;
let before: Map<string, Buffer>;

const log = path.join(dir, "calls.log");
const repack = (output: string, at: number) => {
  mkdirSync(path.dirname(output), { recursive: true });
  rmSync(log, { force: true });
  return convert(["repack", blocks, output, "--to", "ct_fp8_block"], {
    LD_PRELOAD: library,
    OPSWAP_FAULT_UNDER: `${path.dirname(output)}/`,
    OPSWAP_FAULT_LOG: log,
    OPSWAP_FAULT_AT: String(at),
  });
};

beforeAll(async () => {
  library = await buildFaults(dir);
  const made = await convert(["run", writeCheckpoint(path.join(dir, "source")), blocks]);
  expect(made).toMatchObject({ code: 0, err: "" });
  before = contents(blocks);
});
afterAll(remove);

it(
  `a repack that is killed goes on at each of ${KILLS} points and ends with the same bytes`,
  async () => {
    const whole = path.join(dir, "whole", "out");
    expect(await repack(whole, 0)).toMatchObject({ code: 0, err: "" });
    const wanted = contents(whole);
    const most = readLog(log).length;
    for (let i = 0; i < KILLS; i++) {
      const output = path.join(dir, `kill-${i}`, "out");
      // From the first call to the last, which publishes.
      const killed = await repack(output, 1 + Math.round((i * (most - 1)) / (KILLS - 1)));
      expect(killed.signal).toBe("SIGKILL");
      if (existsSync(output)) expect(differing(contents(output), wanted)).toEqual([]);
      expect((await repack(output, 0)).code).toBe(0);
      expect(differing(contents(output), wanted)).toEqual([]);
      expect(readdirSync(path.dirname(output))).toEqual(["out"]);
    }
    expect(differing(before, contents(blocks)), "the source was modified").toEqual([]);
  },
  KILLS * 10_000 + 60_000,
);
