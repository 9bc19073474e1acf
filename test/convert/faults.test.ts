import {
  copyFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { constants } from "node:os";
import path from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { generator } from "../../ts-client/src/testing/mutate-header.js";
import {
  buildFaults,
  contents,
  convert,
  differing,
  events,
  type LoggedCall,
  readLog,
  scratch,
  writeCheckpoint,
} from "./harness.js";

/** Kill points of a run; 200 and more by `OPSWAP_KILLS=200 npx vitest run faults`. */
const KILLS = Number(process.env.OPSWAP_KILLS ?? 16);
const AT_ONCE = 3;

const { dir, remove } = scratch();
const source = writeCheckpoint(path.join(dir, "source"));
const before = contents(source);
let library: string;
let wanted: Map<string, Buffer>;
let calls: LoggedCall[];

/** A place of its own for one run, with the faults that it meets. */
class Place {
  readonly folder: string;
  readonly output: string;
  constructor(name: string) {
    this.folder = path.join(dir, name);
    mkdirSync(this.folder);
    this.output = path.join(this.folder, "out");
  }
  get log(): string {
    return path.join(dir, `${path.basename(this.folder)}.log`);
  }
  run(at: number, errno = 0, ...more: string[]) {
    rmSync(this.log, { force: true });
    return convert(["run", source, this.output, ...more], {
      LD_PRELOAD: library,
      OPSWAP_FAULT_UNDER: `${this.folder}/`,
      OPSWAP_FAULT_LOG: this.log,
      OPSWAP_FAULT_AT: String(at),
      OPSWAP_FAULT_ERRNO: String(errno),
    });
  }
  get calls(): LoggedCall[] {
    return readLog(this.log);
  }
}

beforeAll(async () => {
  library = await buildFaults(dir);
  const place = new Place("whole");
  const ran = await place.run(0);
  expect(ran).toMatchObject({ code: 0, err: "" });
  wanted = contents(place.output);
  calls = place.calls;
});
afterAll(() => {
  expect(differing(before, contents(source)), "the source was modified").toEqual([]);
  remove();
});

const isShard = (call: LoggedCall) =>
  call.call === "write" && call.file.endsWith(".safetensors") && call.offset > 0;

/** Bytes of a shard's data that both runs wrote. */
function writtenTwice(first: readonly LoggedCall[], second: readonly LoggedCall[]): number {
  let bytes = 0;
  for (const a of first.filter(isShard))
    for (const b of second.filter((call) => isShard(call) && call.file === a.file))
      bytes += Math.max(0, Math.min(a.offset + a.bytes, b.offset + b.bytes) - Math.max(a.offset, b.offset));
  return bytes;
}

/** The largest tensor of the output: codes and scales. */
const LARGEST = 700 * 1100 + 6 * 9 * 4;

async function killAndResume(at: number, turn: number): Promise<void> {
  const place = new Place(`kill-${turn}`);
  const killed = await place.run(at);
  expect(killed.signal, `call ${at}: ${calls[at - 1]?.call} ${calls[at - 1]?.file}`).toBe("SIGKILL");
  const first = place.calls;
  if (existsSync(place.output)) expect(differing(contents(place.output), wanted)).toEqual([]);
  const resumed = await place.run(0);
  expect(resumed).toMatchObject({ code: 0, err: "" });
  expect(differing(contents(place.output), wanted), `after a kill at call ${at}`).toEqual([]);
  expect(readdirSync(place.folder)).toEqual(["out"]);
  expect(writtenTwice(first, place.calls)).toBeLessThanOrEqual(LARGEST);
  rmSync(place.folder, { recursive: true });
}

/** Calls to kill at, half of them in the last third, which is where the output is published; every call if that many. */
function points(most: number, wantedPoints: number): number[] {
  const all = Array.from({ length: most }, (_, i) => i + 1);
  const random = generator(3);
  const late = Math.floor((most * 2) / 3);
  const one = (i: number) => (i % 2 === 0 ? 1 + random(most) : late + 1 + random(most - late));
  if (wantedPoints >= most) return [...all, ...Array.from({ length: wantedPoints - most }, (_, i) => one(i))];
  const chosen = new Set<number>([1, most]);
  while (chosen.size < wantedPoints) chosen.add(one(chosen.size));
  return [...chosen];
}

describe("a run that is killed", () => {
  it(
    `goes on at each of ${KILLS} points and ends with the same bytes`,
    async () => {
      // The order of writes depends on threads, their number does not.
      const waiting = points(calls.length, KILLS);
      const next = async (): Promise<void> => {
        for (let at = waiting.pop(); at !== undefined; at = waiting.pop())
          await killAndResume(at, waiting.length);
      };
      await Promise.all(Array.from({ length: AT_ONCE }, next));
    },
    KILLS * 5_000 + 60_000,
  );

  it("and damaged afterwards is mended where it was damaged", async () => {
    const place = new Place("damaged");
    const published = calls.findIndex((call) => call.call === "create" && call.file.endsWith("fresh"));
    await place.run(published + 1);
    const shard = path.join(`${place.output}.partial`, "model-00001-of-00002.safetensors");
    const bytes = readFileSync(shard);
    bytes[bytes.length - 1000] = (bytes[bytes.length - 1000] ?? 0) ^ 1;
    writeFileSync(shard, bytes);
    const resumed = await place.run(0);
    expect(events(resumed).filter((one) => one.event === "resume")).toMatchObject([
      { again: 1 },
      { again: 0 },
    ]);
    expect(differing(contents(place.output), wanted)).toEqual([]);
  });
});

describe("a disk that is full", () => {
  const { ENOSPC, EDQUOT } = constants.errno;
  const kinds = ["fallocate", "write", "create", "rename"];

  it.each(kinds)("at a %s (an error number put in) is reported, and the run goes on later", async (kind) => {
    const place = new Place(`full-${kind}`);
    const at = calls.findLastIndex((call) => call.call === kind) + 1;
    const ran = await place.run(at, kind === "rename" ? EDQUOT : ENOSPC);
    expect(ran.code).toBe(1);
    expect(events(ran).at(-1)).toMatchObject({ event: "error", code: "OPSWAP_E_DISK_FULL" });
    expect(existsSync(place.output)).toBe(false);
    expect(await place.run(0)).toMatchObject({ code: 0 });
    expect(differing(contents(place.output), wanted)).toEqual([]);
  });

  it("is another error than a broken one", async () => {
    const place = new Place("broken");
    const at = calls.findIndex(isShard) + 1;
    const ran = await place.run(at, constants.errno.EIO);
    expect(events(ran).at(-1)).toMatchObject({ code: "OPSWAP_E_IO" });
    expect(String(events(ran).at(-1)?.message)).toMatch(/tensor \S+: write: Input\/output error at byte \d+/);
  });
});

describe("an unfinished output", () => {
  it("of other options is not gone on with, but for --restart", async () => {
    const place = new Place("stale");
    await place.run(12);
    const other = await place.run(0, 0, "--keep", "m.1.*");
    expect(events(other).at(-1)).toMatchObject({ code: "OPSWAP_E_STALE" });
    expect(await place.run(0, 0, "--restart")).toMatchObject({ code: 0 });
    expect(differing(contents(place.output), wanted)).toEqual([]);
  });

  it("whose source was touched is not gone on with", async () => {
    const place = new Place("touched");
    const copy = path.join(place.folder, "source");
    mkdirSync(copy);
    copyFileSync(path.join(source, "config.json"), path.join(copy, "config.json"));
    copyFileSync(path.join(source, "model-00001-of-00002.safetensors"), path.join(copy, "model.safetensors"));
    const args = ["run", copy, place.output];
    const env = { LD_PRELOAD: library, OPSWAP_FAULT_UNDER: `${place.output}.partial`, OPSWAP_FAULT_AT: "12" };
    expect((await convert(args, env)).signal).toBe("SIGKILL");
    utimesSync(path.join(copy, "model.safetensors"), 1, 1);
    expect(events(await convert(args)).at(-1)).toMatchObject({ code: "OPSWAP_E_SOURCE_CHANGED" });
  });
});
