/** For tests of `opswap convert`: runs it, also with faults or stopped, and makes and compares checkpoints. */
import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { findCompiler } from "../../scripts/lib/compiler.mjs";
import { headOf, layoutFile } from "../../ts-client/src/convert/source/safetensors/layout.js";
import { generator } from "../../ts-client/src/testing/mutate-header.js";
import { cli } from "../cli/harness.js";

export interface Ran {
  code: number | null;
  signal: NodeJS.Signals | null;
  out: string;
  err: string;
}

/** Runs `opswap convert` with faults preloaded or not. */
export function convert(args: readonly string[], env: NodeJS.ProcessEnv = {}): Promise<Ran> {
  const child = spawn(process.execPath, [cli, "convert", ...args], {
    env: { ...process.env, ...env },
    stdio: ["ignore", "pipe", "pipe"],
  });
  return new Promise((done) => {
    const ran: Ran = { code: null, signal: null, out: "", err: "" };
    child.stdout.on("data", (chunk) => (ran.out += chunk));
    child.stderr.on("data", (chunk) => (ran.err += chunk));
    child.on("close", (code, signal) => done({ ...ran, code, signal }));
  });
}

/** A run of `opswap convert` that stays in a call below `under`, as on a slow machine, until it is killed. */
export async function stoppedRun(args: readonly string[], under: string, at: number): Promise<ChildProcess> {
  const library = await buildFaults(mkdtempSync(path.join(path.dirname(under), "faults-")));
  const child = spawn(process.execPath, [cli, "convert", ...args], {
    env: {
      ...process.env,
      LD_PRELOAD: library,
      OPSWAP_FAULT_UNDER: under,
      OPSWAP_FAULT_AT: String(at),
      OPSWAP_FAULT_STOP: "1",
    },
    stdio: "ignore",
  });
  while (!isStopped(child.pid ?? 0)) {
    if (child.exitCode !== null)
      throw new Error(`the run ended with ${child.exitCode} before it was stopped`);
    await sleep(10);
  }
  return child;
}

/** By its state in /proc. */
function isStopped(pid: number): boolean {
  return /^State:\s+T/m.test(readFileSync(`/proc/${pid}/status`, "utf8"));
}

/** What a run printed as lines of JSON. */
export function events(ran: Ran): { event: string; [key: string]: unknown }[] {
  return ran.out
    .split("\n")
    .filter(Boolean)
    .map((line) => JSON.parse(line));
}

export function scratch(): { dir: string; remove(): void } {
  const dir = mkdtempSync(path.join(tmpdir(), "oc"));
  return { dir, remove: () => rmSync(dir, { recursive: true, force: true }) };
}

type Shapes = Record<string, readonly number[]>;

/** A BF16 file of values that no two tensors share. */
export function writeShard(file: string, shapes: Shapes, seed: number): void {
  const tensors = Object.entries(shapes).map(([name, shape]) => ({ name, dtype: "BF16", shape }));
  const layout = layoutFile(tensors, { format: "pt" });
  const head = headOf(layout);
  const body = Buffer.alloc(layout.bytes - head.length);
  const random = generator(seed);
  // Sign, seven bits of mantissa and a small exponent: finite, of many sizes.
  for (let i = 0; i < body.length; i += 2)
    body.writeUInt16LE((random(2) << 15) | (0x3a00 + random(0x600)), i);
  writeFileSync(file, Buffer.concat([head, body]));
}

/** Two shards, an index, and files that go along; tensors of several tiles, of one, and copied ones. */
export function writeCheckpoint(folder: string): string {
  const shards: Shapes[] = [
    { "m.embed_tokens.weight": [300, 64], "m.0.o_proj.weight": [700, 1100], "m.0.norm.weight": [64] },
    { "m.1.o_proj.weight": [130, 257], "m.1.down_proj.weight": [256, 128], "m.norm.weight": [64] },
  ];
  mkdirSync(path.join(folder, "extra"), { recursive: true });
  const map: Record<string, string> = {};
  for (const [i, shapes] of shards.entries()) {
    const name = `model-0000${i + 1}-of-00002.safetensors`;
    writeShard(path.join(folder, name), shapes, i);
    for (const tensor of Object.keys(shapes)) map[tensor] = name;
  }
  writeFileSync(path.join(folder, "model.safetensors.index.json"), JSON.stringify({ weight_map: map }));
  writeFileSync(path.join(folder, "config.json"), '{\n  "model_type": "m",\n  "rope_theta": 10000.0\n}\n');
  writeFileSync(path.join(folder, "tokenizer.json"), '{"version": "1.0"}');
  writeFileSync(path.join(folder, "extra/chat.txt"), "hello");
  return folder;
}

/** Every file below a folder, with its bytes. */
export function contents(folder: string): Map<string, Buffer> {
  const names = readdirSync(folder, { recursive: true, encoding: "utf8" }).sort();
  const files = names.filter((name) => statSync(path.join(folder, name)).isFile());
  return new Map(files.map((name) => [name, readFileSync(path.join(folder, name))]));
}

/** Names of files that are not the same in both. */
export function differing(a: Map<string, Buffer>, b: Map<string, Buffer>): string[] {
  const names = new Set([...a.keys(), ...b.keys()]);
  return [...names].filter((name) => {
    const [one, other] = [a.get(name), b.get(name)];
    return !one || !other?.equals(one);
  });
}

/** Builds the library that injects faults; see faults.cpp. */
export async function buildFaults(folder: string): Promise<string> {
  const library = path.join(folder, "faults.so");
  const source = path.join(import.meta.dirname, "faults.cpp");
  execFileSync(await findCompiler(), [
    "-shared",
    "-fPIC",
    "-O1",
    "-std=c++20",
    "-o",
    library,
    source,
    "-ldl",
  ]);
  return library;
}

export interface LoggedCall {
  call: string;
  offset: number;
  bytes: number;
  file: string;
}

/** Empty when the process was killed before its first call. */
export function readLog(file: string): LoggedCall[] {
  if (!existsSync(file)) return [];
  const lines = readFileSync(file, "utf8").split("\n").filter(Boolean);
  return lines.map((line) => {
    const [call = "", offset, bytes, ...rest] = line.split(" ");
    return { call, offset: Number(offset), bytes: Number(bytes), file: rest.join(" ") };
  });
}
