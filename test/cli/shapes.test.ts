import { execFileSync } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import path from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { main } from "../../ts-client/src/cli.js";
import { connectLocal, declared, type ManifestOp } from "../../ts-client/src/client/index.js";
import { type ArgumentValue, ZEROS } from "../../ts-client/src/commands/call-arguments.js";
import { tensorsToMake } from "../../ts-client/src/commands/call-outputs.js";
import { pythonEnvironment } from "../../ts-client/src/python-environment.js";
import { evaluate } from "../../ts-client/src/shapes/evaluate.js";
import { parse } from "../../ts-client/src/shapes/expression.js";
import { scalarOf } from "../../ts-client/src/shapes/sizes.js";
import { parseSafetensors } from "../../ts-client/src/tensorfile/safetensors.js";
import { root, scratch } from "./harness.js";

/** What cases.py prints: the values and shapes that Python finds. */
interface Case {
  op: string;
  case: string;
  sizes: Record<string, number>;
  scalars: Record<string, number | boolean>;
  tensors: Record<string, { dtype: string; shape: number[] } | null>;
  made: string[];
  file: string | null;
}
type Row = [op: string, expression: string, known: Record<string, number | boolean>, value: number];

/** Sizes that nothing given tells: words of a plan, how many experts are chosen, and how many there are. */
const TOLD: Record<string, readonly string[]> = {
  grouped_gemm_plan: ["P"],
  grouped_topk: ["K"],
  moe_permute: ["F"],
  moe_permute_quant_fp8: ["F"],
};

const { dir, remove } = scratch();
afterAll(remove);
const { python, env } = pythonEnvironment();
const PYTHONPATH = [
  env.PYTHONPATH,
  path.join(root, "test/ops"),
  path.join(root, "native"),
  path.join(root, "kernels"),
].join(path.delimiter);
const printed = execFileSync(python, [path.join(root, "test/cli/cases.py"), dir], {
  env: { ...env, PYTHONPATH },
  encoding: "utf8",
  maxBuffer: 2 ** 28,
});
const { calls, expressions }: { calls: Case[]; expressions: Row[] } = JSON.parse(printed);
const client = await connectLocal();
const manifest = await client.manifest();
const rooms = readdirSync(path.join(root, "kernels"), { withFileTypes: true })
  .filter(
    (entry) =>
      entry.isDirectory() && readdirSync(path.join(entry.parentPath, entry.name)).includes("op.json"),
  )
  .map((entry) => entry.name);

const casesOf = (op: string) => calls.filter((one) => one.op === op);
const kindOf = (op: ManifestOp, name: string) =>
  op.args.find((argument) => argument.name === name)?.kind ?? "size";

/** What a caller gives: every tensor that is not only written, and zeros for an optional one that is. */
function givenOf(op: ManifestOp, { tensors, scalars, made }: Case): Map<string, ArgumentValue> {
  const given = new Map<string, ArgumentValue>();
  for (const [name, tensor] of Object.entries(tensors)) {
    const optional = op.args.find((argument) => argument.name === name)?.optional;
    if (tensor === null) given.set(name, null);
    else if (!made.includes(name)) given.set(name, { ...tensor, bytes: new Uint8Array() });
    else if (optional) given.set(name, ZEROS);
  }
  for (const [name, value] of Object.entries(scalars))
    given.set(name, kindOf(op, name) === "int" ? BigInt(value) : value);
  return given;
}

function toldOf({ op, sizes }: Case): Map<string, number> {
  return new Map((TOLD[op] ?? []).map((name) => [name, sizes[name] ?? -1]));
}

describe("expressions of op.json", () => {
  it("covers every room", () => {
    expect([...new Set(expressions.map(([op]) => op))]).toEqual(rooms.toSorted());
    expect([...new Set(calls.map(({ op }) => op))]).toEqual(rooms.toSorted());
  });

  it.each(rooms)("%s: each has the value that Python gives it", (room) => {
    const op = declared(manifest, room);
    const rows = expressions.filter(([of]) => of === room);
    const found = rows.map(([, text, known]) => {
      const entries = Object.entries(known).map(
        ([name, value]) => [name, scalarOf(kindOf(op, name), value)] as const,
      );
      return [text, known, Number(evaluate(parse(text), new Map(entries)))];
    });
    expect(found).toEqual(rows.map(([, ...row]) => row));
  });
});

describe.each(rooms)("%s", (room) => {
  const op = declared(manifest, room);

  it("sizes every tensor that it only writes", () => {
    for (const one of casesOf(room)) {
      const made = tensorsToMake(op, { given: givenOf(op, one), sizes: toldOf(one) });
      const expected = one.made.map((name) => [name, one.tensors[name]]);
      expect(Object.fromEntries(made), one.case).toEqual(Object.fromEntries(expected));
    }
  });

  it("runs from the command line and saves what it wrote", async () => {
    const small = casesOf(room).filter(({ file }) => file !== null);
    expect(small.length).toBeGreaterThan(1);
    for (const one of small) {
      const [saved, errors] = await called(op, one);
      const written = op.args
        .filter(({ name, writes }) => writes && one.tensors[name])
        .map(({ name }) => name);
      const shapes = Object.fromEntries(
        [...saved].map(([name, { dtype, shape }]) => [name, { dtype, shape }]),
      );
      expect(errors, one.case).toEqual([]);
      expect(shapes, one.case).toEqual(Object.fromEntries(written.map((name) => [name, one.tensors[name]])));
    }
  });
});

async function called(op: ManifestOp, one: Case) {
  const words = [...givenOf(op, one)].map(([name, value]) => {
    if (typeof value === "object") return `${name}=${value === null ? "none" : one.file}`;
    return `${name}=${value === ZEROS ? "zeros" : value}`;
  });
  const sizes = [...toldOf(one)].map(([name, size]) => `${name}=${size}`);
  const file = path.join(dir, "out.safetensors");
  const errors: string[] = [];
  const io = { out: () => {}, err: (line: string) => errors.push(line) };
  await main(["call", op.op, ...words, ...sizes, "--local", "--save", file], io);
  return [errors.length > 0 ? new Map() : parseSafetensors(file, readFileSync(file)), errors] as const;
}

describe("a size that does not follow", () => {
  it.each(Object.entries(TOLD))("of %s is asked for by its name", (room, names) => {
    const op = declared(manifest, room);
    const [first] = casesOf(room);
    if (!first) throw new Error(`${room} has no case`);
    expect(() => tensorsToMake(op, { given: givenOf(op, first), sizes: new Map() })).toThrow(
      expect.objectContaining({ remedy: expect.stringMatching(`give ${names[0]}=SIZE, or `) }),
    );
  });
});
