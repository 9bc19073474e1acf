/** The layers of ts-client/src: what a file may import, by where it lies, and that no file imports itself by a detour. */
import { readdirSync, readFileSync } from "node:fs";
import path from "node:path";
import ts from "typescript";
import { describe, expect, it } from "vitest";

const SOURCE = path.resolve(import.meta.dirname, "../../ts-client/src");

/** Folders and files of src, from the bottom up: each imports only what stands in its own group or before it. */
const LAYERS = [
  ["generated"],
  ["types"],
  ["installation", "version"],
  ["addon-file", "native"],
  ["client", "tensorfile", "shapes", "python-environment"],
  ["view"],
  ["feed"],
  ["convert"],
  ["experiments"],
  ["bisect"],
  ["console"],
  ["commands"],
  ["demo"],
  ["cli", "run", "launcher"],
];

/** The same inside convert/, which is larger than all others. Its index is what the layers above import. */
const STAGES = [
  ["errors", "sum"],
  ["text"],
  ["options"],
  ["source"],
  ["formats"],
  ["readers"],
  ["policy"],
  ["awq"],
  ["ranks"],
  ["plan"],
  ["report"],
  ["run"],
  ["check"],
  ["index"],
];

/** Packages that a layer may import; a layer that is not named may import any. */
const PACKAGES: Readonly<Record<string, readonly string[]>> = { generated: ["zod", "zod/mini"] };

type Graph = ReadonlyMap<string, readonly string[]>;

/** Everything that a file imports, types included, as it is written there. */
function importsOf(text: string): string[] {
  const found: string[] = [];
  const visit = (node: ts.Node): void => {
    if (ts.isImportDeclaration(node) || ts.isExportDeclaration(node)) add(node.moduleSpecifier);
    else if (ts.isImportTypeNode(node) && ts.isLiteralTypeNode(node.argument)) add(node.argument.literal);
    else if (ts.isCallExpression(node) && node.expression.kind === ts.SyntaxKind.ImportKeyword)
      add(node.arguments[0]);
    ts.forEachChild(node, visit);
  };
  const add = (name: ts.Node | undefined): void => {
    if (name !== undefined && ts.isStringLiteral(name)) found.push(name.text);
  };
  visit(ts.createSourceFile("file.tsx", text, ts.ScriptTarget.Latest));
  return found;
}

const files = readdirSync(SOURCE, { recursive: true, encoding: "utf8" })
  .filter((file) => /\.tsx?$/.test(file))
  .sort();
const isTest = (file: string) => /\.test\.tsx?$/.test(file) || file.startsWith("testing/");

/** The name of a file of src that another one imports as `name`; undefined for packages. */
function resolved(from: string, name: string): string | undefined {
  if (!name.startsWith(".")) return undefined;
  const file = path.join(path.dirname(from), name);
  const there = [".ts", ".tsx"].map((ending) => file.replace(/\.js$/, ending));
  return there.find((one) => files.includes(one)) ?? file;
}

const imports = new Map(
  files.map((file) => [file, importsOf(readFileSync(path.join(SOURCE, file), "utf8"))] as const),
);
const graph: Graph = new Map(
  [...imports].map(([file, names]) => [file, names.flatMap((name) => resolved(file, name) ?? [])]),
);

/** The folder below `base` that a file lies in, or its own name where it lies in `base` itself. */
const partOf = (file: string, base = "") =>
  (file.slice(base.length).split("/")[0] ?? "").replace(/\.(tsx?|json)$/, "");

/** Imports that go up, and files that stand in no layer. */
function against(layers: readonly (readonly string[])[], inside: Graph, base = ""): string[] {
  const rank = (file: string) => layers.findIndex((layer) => layer.includes(partOf(file, base)));
  return [...inside].flatMap(([file, used]) => {
    if (rank(file) < 0) return [`${file} is in no layer`];
    return used
      .filter((other) => other.startsWith(base) && rank(other) > rank(file))
      .map((other) => `${file} imports ${other}`);
  });
}

/** Files that reach themselves through their imports, each circle once, as `a -> b -> a`. */
function circles(inside: Graph): string[] {
  const state = new Map<string, "open" | "done">();
  const found: string[] = [];
  const visit = (file: string, trail: readonly string[]): void => {
    if (state.get(file) === "done") return;
    if (state.get(file) === "open") {
      found.push([...trail.slice(trail.indexOf(file)), file].join(" -> "));
      return;
    }
    state.set(file, "open");
    for (const other of inside.get(file) ?? []) visit(other, [...trail, file]);
    state.set(file, "done");
  };
  for (const file of inside.keys()) visit(file, []);
  return found;
}

const code: Graph = new Map([...graph].filter(([file]) => !isTest(file)));

describe("layers of ts-client/src", () => {
  it("imports only what stands before", () => {
    expect(against(LAYERS, code)).toEqual([]);
  });

  it("has no circle between files", () => {
    expect(circles(graph)).toEqual([]);
  });

  it("keeps the stages of the converter in order", () => {
    const convert = new Map([...code].filter(([file]) => file.startsWith("convert/")));
    expect(against(STAGES, convert, "convert/")).toEqual([]);
  });

  it("uses what is for tests in tests alone", () => {
    const users = [...code].filter(([, used]) => used.some(isTest)).map(([file]) => file);
    expect(users).toEqual([]);
  });

  it("imports no other packages than a layer may", () => {
    const found = [...imports].flatMap(([file, names]) => {
      const allowed = PACKAGES[partOf(file)];
      const packages = names.filter((name) => !name.startsWith("."));
      return allowed
        ? packages.filter((name) => !allowed.includes(name)).map((name) => `${file}: ${name}`)
        : [];
    });
    expect(found).toEqual([]);
  });

  it("finds what it looks for", () => {
    const text = `import type { A } from "./a.js"; export { b } from "./b.js"; import "./c.js";
      type D = import("./d.js").D; const e = await import("./e.js"); import { type F, f } from "./f.js";`;
    expect(importsOf(text)).toEqual(["./a.js", "./b.js", "./c.js", "./d.js", "./e.js", "./f.js"]);
    const bad: Graph = new Map([
      ["view/a.ts", ["commands/b.ts"]],
      ["commands/b.ts", ["view/a.ts"]],
      ["elsewhere/c.ts", []],
    ]);
    expect(against(LAYERS, bad)).toEqual([
      "view/a.ts imports commands/b.ts",
      "elsewhere/c.ts is in no layer",
    ]);
    expect(circles(bad)).toEqual(["view/a.ts -> commands/b.ts -> view/a.ts"]);
  });
});
