/** The audit: its chain, what is seen when it is changed or cut, and that no kill loses or breaks a record. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import {
  appendFileSync,
  chmodSync,
  mkdirSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { describe, expect, it } from "vitest";
import type { OpswapClient } from "../../ts-client/src/client/types.js";
import {
  type About,
  type AuditStore,
  auditedSwitch,
  FileAudit,
  MemoryAudit,
} from "../../ts-client/src/experiments/index.js";
import { OpswapError } from "../../ts-client/src/types/errors.js";
import { uniform } from "../bench/_series.mjs";
import { entry, folder } from "./audits.js";

async function filled(records: number): Promise<FileAudit> {
  const audit = new FileAudit(folder());
  for (let i = 1; i <= records; i++) await audit.append(entry(`impl${i}`));
  return audit;
}

describe.each([
  ["file", () => new FileAudit(folder())],
  ["memory", () => new MemoryAudit()],
])("the audit in a %s", (_kind, make) => {
  it("keeps records in order, each chained to the one before", async () => {
    const audit = make();
    expect(audit.verified()).toMatchObject({ records: [], broken: null });
    for (const to of ["a", "b", "c"]) await audit.append(entry(to));
    const { records, broken, head } = audit.verified();
    expect(broken).toBeNull();
    expect(records.map(({ n, to }) => [n, to.rms_norm])).toEqual([
      [1, "a"],
      [2, "b"],
      [3, "c"],
    ]);
    expect(head.records).toBe(3);
    expect(records[0]).toMatchObject({ ...entry("a"), previous: "0".repeat(64) });
  });
});

describe("a change of the file", () => {
  it("is seen wherever a byte of it is, with its line", async () => {
    const audit = await filled(4);
    const whole = readFileSync(audit.file);
    const next = uniform(5);
    for (let i = 0; i < 300; i++) {
      const at = Math.floor(next() * whole.length);
      const changed = Buffer.from(whole);
      changed[at] = (whole[at] ?? 0) ^ (1 << Math.floor(next() * 7));
      writeFileSync(audit.file, changed);
      const { broken } = audit.verified();
      const line = whole.subarray(0, at).toString("latin1").split("\n").length;
      // What is wrong with a line may only show in the next one, which has its digest.
      expect([line, line + 1], `byte ${at}`).toContain(broken?.line);
    }
  });

  it("is seen where lines are cut off, taken out, put in or exchanged", async () => {
    const audit = await filled(4);
    const lines = readFileSync(audit.file, "utf8").split("\n").slice(0, -1);
    const broken = (changed: (string | undefined)[]) => {
      writeFileSync(audit.file, changed.map((line) => `${line}\n`).join(""));
      return audit.verified().broken;
    };
    const [a, b, c, d] = lines;
    expect(broken([a, b, c])).toEqual({ line: 4, what: "1 records are missing: the file was cut" });
    expect(broken([])).toMatchObject({ line: 1 });
    expect(broken([a, c, d])).toMatchObject({ line: 2 });
    expect(broken([a, b, b, c, d])).toMatchObject({ line: 3 });
    expect(broken([a, c, b, d])).toMatchObject({ line: 2 });
    expect(broken([a, b, c, d])).toBeNull();
  });

  it("of file and head together is seen by a head that was kept elsewhere", async () => {
    const dir = folder();
    const audit = new FileAudit(dir);
    for (const to of ["a", "b"]) await audit.append(entry(to));
    const kept = audit.readHead();
    rmSync(dir, { recursive: true });
    await audit.append(entry("a"));
    expect(audit.verified().broken).toBeNull();
    expect(audit.verified(kept).broken).toMatchObject({ line: 2, what: expect.stringMatching(/missing/) });
    await audit.append(entry("b"));
    expect(audit.verified(kept).broken).toMatchObject({
      line: 2,
      what: expect.stringMatching(/not the record/),
    });
  });

  it("is not written over: the next record is refused", async () => {
    const audit = await filled(3);
    truncateSync(audit.file, 10);
    await expect(audit.append(entry("x"))).rejects.toMatchObject({ code: "OPSWAP_E_AUDIT" });
    writeFileSync(path.join(path.dirname(audit.file), "audit.head"), "{}");
    expect(() => audit.verified()).toThrow(/is not the head of an audit/);
  });
});

describe("a line that a kill cut short", () => {
  it("is told apart from a change, and taken away by the next writer", async () => {
    const audit = await filled(2);
    appendFileSync(audit.file, '{"n":3,"time":');
    expect(audit.verified()).toMatchObject({ broken: null, unfinished: 14 });
    expect(await audit.append(entry("c"))).toBe(3);
    expect(audit.verified()).toMatchObject({ broken: null, unfinished: 0, head: { records: 3 } });
  });

  it("but whole stays, though its writer did not come to the head", async () => {
    const audit = await filled(1);
    const head = path.join(path.dirname(audit.file), "audit.head");
    const before = readFileSync(head);
    await audit.append(entry("b"));
    writeFileSync(head, before);
    expect(audit.verified()).toMatchObject({ broken: null, head: { records: 2 } });
    expect(await audit.append(entry("c"))).toBe(3);
    expect(audit.verified()).toMatchObject({ broken: null, head: { records: 3 } });
  });

  it("is not one that does not follow from the last", async () => {
    const audit = await filled(2);
    appendFileSync(audit.file, `${readFileSync(audit.file, "utf8").split("\n")[0]}\n`);
    await expect(audit.append(entry("c"))).rejects.toMatchObject({
      message: expect.stringMatching(/line 3 does not follow/),
    });
  });
});

describe("kill -9 at random points", () => {
  const ROUNDS = 50;
  const WRITERS = 4;
  const script = path.resolve(import.meta.dirname, "_audit-writer.mjs");

  /** A child that appends records until it ends, and prints the number of each once it is kept. */
  function writer(dir: string) {
    const child = spawn(process.execPath, [script, dir], { stdio: ["ignore", "pipe", "inherit"] });
    const acknowledged: number[] = [];
    let rest = "";
    child.stdout.on("data", (chunk: Buffer) => {
      const lines = (rest + chunk).split("\n");
      rest = lines.pop() ?? "";
      acknowledged.push(...lines.map(Number));
    });
    return { child, acknowledged };
  }

  const firstWord = (child: ChildProcess) => once(child.stdout as NodeJS.ReadableStream, "data");

  it(`loses and breaks no record, in ${ROUNDS * WRITERS} kills of writers side by side`, async () => {
    const dir = folder();
    const next = uniform(17);
    const kept = new Set<number>();
    for (let round = 0; round < ROUNDS; round++) {
      const writers = Array.from({ length: WRITERS }, () => writer(dir));
      await Promise.all(
        writers.map(async ({ child }) => {
          const ended = once(child, "close");
          await firstWord(child);
          await sleep(30 * next());
          child.kill("SIGKILL");
          await ended;
        }),
      );
      for (const n of writers.flatMap(({ acknowledged }) => acknowledged)) {
        expect(kept.has(n), `record ${n} was acknowledged twice`).toBe(false);
        kept.add(n);
      }
      const { broken, records } = new FileAudit(dir).verified();
      expect(broken).toBeNull();
      expect(records.length).toBeGreaterThanOrEqual(Math.max(...kept));
    }
    expect(kept.size).toBeGreaterThan(ROUNDS * WRITERS);
    expect(await new FileAudit(dir).append(entry("last"))).toBeGreaterThan(Math.max(...kept));
  });
});

describe("a switch", () => {
  const done = {
    epoch: 7,
    step: 1,
    changes: [{ op: "rms_norm", impl: "ref" }],
    acks: [{ rank: 0, step: 1, epoch: 7, applied: "live", previous: { rms_norm: "cpu" } }],
  };
  /** The client is played: an engine's answers are what matters here. */
  const client = (use: () => Promise<unknown>) =>
    ({
      name: "engine",
      use,
      status: async () => ({ ranks: [{ build_digest: "digest" }] }),
    }) as unknown as OpswapClient;
  const asked = { action: "use", to: { rms_norm: "ref" } };
  const switched = (on: OpswapClient, store: AuditStore, about: About) =>
    auditedSwitch(on, store, asked, about, () => on.use([{ op: "rms_norm", impl: "ref" }]));

  it("is in the audit before it is asked for, and with its outcome", async () => {
    const audit = new MemoryAudit();
    let before: number | undefined;
    const use = async () => {
      before = audit.verified().records.length;
      return done;
    };
    const unaudited = () => expect.unreachable();
    await switched(client(use), audit, { why: "NaNs", ticket: "T-1", unaudited });
    expect(before).toBe(1);
    const [first, outcome] = audit.verified().records;
    expect(first).toMatchObject({
      outcome: "asked",
      to: { rms_norm: "ref" },
      why: "NaNs",
      ticket: "T-1",
      engine: "engine",
    });
    expect(outcome).toMatchObject({
      outcome: "done",
      asked: 1,
      from: { rms_norm: "cpu" },
      epoch: 7,
      build: "digest",
    });
  });

  it.each([
    ["refused", "OPSWAP_E_REFUSED"],
    ["unknown", "OPSWAP_E_TIMEOUT"],
  ])("that ends %s is in it with its reason, and throws as before", async (outcome, code) => {
    const audit = new MemoryAudit();
    const error = new OpswapError(code, "no");
    const use = () => Promise.reject(error);
    await expect(switched(client(use), audit, { unaudited: () => {} })).rejects.toBe(error);
    expect(audit.verified().records[1]).toMatchObject({ outcome, error: { code, message: "no" } });
  });

  it("goes on where the audit cannot be written, and says so", async () => {
    const dir = folder();
    writeFileSync(path.join(dir, "file"), "");
    const said: string[] = [];
    const store = new FileAudit(path.join(dir, "file", "below"));
    const unaudited = ({ code }: OpswapError) => said.push(code);
    const result = await switched(
      client(async () => done),
      store,
      { unaudited },
    );
    expect(result).toBe(done);
    expect(said).toEqual(["OPSWAP_E_AUDIT_STORE"]);
  });

  it("is read by nobody else", async () => {
    const dir = path.join(folder(), "state");
    mkdirSync(dir);
    chmodSync(dir, 0o755);
    const audit = new FileAudit(dir);
    await audit.append(entry("a"));
    expect(statSync(audit.file).mode & 0o777).toBe(0o600);
  });
});
