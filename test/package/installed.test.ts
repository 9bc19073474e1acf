import { existsSync, mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import path from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { tinyModel, withData } from "../../ts-client/src/testing/gguf-file.js";
import { packageVersion } from "../../ts-client/src/version.js";
import { writeCheckpoint } from "../convert/harness.js";
import { NATIVE, Place, root, TARBALLS } from "./installed.js";

let place: Place;
beforeAll(() => {
  place = new Place();
  place.install(TARBALLS.main, TARBALLS.native);
});
afterAll(() => place.remove());

const version = packageVersion();

describe("the command line, installed by npm, without Python and compiler", () => {
  it("is what npx runs: the library's ops", () => {
    const { code, out } = place.run("npx", ["opswap", "ops", "--local"]);
    const ops = readdirSync(path.join(root, "kernels")).filter((op) =>
      existsSync(path.join(root, "kernels", op, "op.json")),
    );
    expect(code).toBe(0);
    for (const op of ops) expect(out).toMatch(new RegExp(`^${op} +\\w+ +0 +0 `, "m"));
  });

  it("says its version", () => {
    expect(place.opswap(["--version"])).toEqual({ code: 0, out: `${version}\n`, err: "" });
  });

  it("has a doctor that says that no engine runs, what is there and what is not, and exits 1", () => {
    const { code, out, err } = place.opswap(["doctor"]);
    expect({ code, err }).toEqual({ code: 1, err: "" });
    expect(out).toMatch(/^fail +engine: no engine is running/);
    expect(out).toMatch(new RegExp(`^ok +library: ${version.replaceAll(".", "\\.")}, `, "m"));
    expect(out).toMatch(
      /^warn +python: .*OPSWAP_PYTHON is not set \[OPSWAP_E_PYTHON\]\n +set OPSWAP_PYTHON.*wheel/m,
    );
    expect(out).toMatch(/^NOT healthy$/m);
    expect(out).not.toMatch(/npm run/);
  });

  it("says what a sidecar needs", () => {
    const { code, err } = place.opswap(["sidecar"]);
    expect(code).toBe(3);
    expect(err).toBe(
      "opswap: no Python environment: OPSWAP_PYTHON is not set [OPSWAP_E_PYTHON]\n  set OPSWAP_PYTHON to a Python that has opswap's wheel\n",
    );
  });

  it("refuses a console without a terminal, and has what one needs", () => {
    const { code, err } = place.opswap(["console"]);
    expect(code).toBe(2);
    expect(err).toMatch(/console needs a terminal.*\[OPSWAP_E_USAGE\]/);
    expect(
      place.run("node", ["--input-type=module", "-e", `import "${place.file("ink/build/index.js")}"`]).code,
    ).toBe(0);
  });

  it("talks to no engine, through ZeroMQ as npm brings it", () => {
    expect(place.opswap(["status"])).toMatchObject({
      code: 3,
      err: expect.stringMatching(/OPSWAP_E_NOT_RUNNING/),
    });
    const { out } = place.module(`import { version } from "zeromq"; console.log(version)`);
    expect(out).toMatch(/^\d+\.\d+\.\d+\n$/);
  });
});

describe("the converter, installed by npm", () => {
  it("converts, verifies and inspects safetensors", () => {
    const source = writeCheckpoint(path.join(place.app, "model"));
    const run = place.run("npx", ["opswap", "convert", source, "model-fp8"]);
    expect(run).toMatchObject({ code: 0, err: "" });
    expect(readFileSync(path.join(place.app, "model-fp8/config.json"), "utf8")).toMatch(/fp8/);
    expect(place.opswap(["convert", "verify", source, "model-fp8"]).code).toBe(0);
    expect(place.opswap(["convert", "check", "model-fp8"]).code).toBe(0);
    expect(place.opswap(["convert", "run", source, "model-two", "--workers", "2"])).toMatchObject({
      code: 0,
      err: "",
    });
    for (const name of readdirSync(path.join(place.app, "model-fp8")).filter((file) =>
      file.endsWith(".safetensors"),
    ))
      expect(readFileSync(path.join(place.app, "model-two", name))).toEqual(
        readFileSync(path.join(place.app, "model-fp8", name)),
      );
  });

  it("needs Python for a GGUF file's tokenizer alone, and says so", () => {
    writeFileSync(path.join(place.app, "m.gguf"), withData(tinyModel({})));
    const refused = place.opswap(["convert", "plan", "m.gguf"]);
    expect(refused.code).toBe(2);
    expect(refused.err).toMatch(
      /transformers is needed.*OPSWAP_PYTHON is not set.*\[OPSWAP_E_CANNOT_CONVERT\]/,
    );
    expect(refused.err).toMatch(/--tokenizer/);
    expect(place.opswap(["convert", "run", "m.gguf", "m", "--tokenizer", "none"])).toMatchObject({ code: 0 });
  });

  it("needs Python for perplexity, and says so", () => {
    writeFileSync(path.join(place.app, "text.txt"), "some text");
    const { code, err } = place.opswap(["convert", "perplexity", "model", "model-fp8", "--text", "text.txt"]);
    expect(code).toBe(3);
    expect(err).toMatch(/OPSWAP_PYTHON is not set \[OPSWAP_E_PYTHON\]/);
  });
});

const USER = `import { connectLocal, type Manifest, OpswapError, run } from "opswap";
import { type Report, readReport } from "opswap/convert";

const client = await connectLocal();
const input = client.tensor("float32", [1, 4]);
new Float32Array(input.bytes.buffer, input.bytes.byteOffset, 4).set([-1, 0, 1, 2]);
const out = client.tensor("float32", [1, 4]);
const { impl } = await run(client, "silu", { input, out }, { impl: "ref" });
const values = Array.from(new Float32Array(out.bytes.buffer, out.bytes.byteOffset, 4));
const manifest: Manifest = await client.manifest();
const documented: string | undefined = manifest.ops.find(({ op }) => op === "silu")?.args[0]?.doc;
const refusal: unknown = await run(client, "silu", { input, out: client.tensor("float32", [1, 3]) }).catch((error) => error);
const report: Report | undefined = readReport("model-fp8");
console.log(JSON.stringify({ impl, values, documented, code: refusal instanceof OpswapError ? refusal.code : null, to: report?.options.to }));
await client.close();
`;

describe("the library, imported", () => {
  const compile = (text: string) => {
    writeFileSync(path.join(place.app, "user.ts"), text);
    const options = [
      "--strict",
      "--exactOptionalPropertyTypes",
      "--noUncheckedIndexedAccess",
      "--skipLibCheck",
      "false",
    ];
    const target = ["--module", "nodenext", "--target", "es2023", "--types", "node", "user.ts"];
    return place.run("node", [path.join(root, "node_modules/typescript/bin/tsc"), ...options, ...target]);
  };
  beforeAll(() => {
    mkdirSync(place.file("@types"));
    for (const name of ["@types/node", "undici-types"])
      symlinkSync(path.join(root, "node_modules", name), place.file(name));
  });

  it("compiles under strict, with types that need no other package, and runs an op", () => {
    expect(compile(USER)).toEqual({ code: 0, out: "", err: "" });
    const { code, out } = place.run("node", ["user.js"]);
    expect(code).toBe(0);
    const silu = [-1, 0, 1, 2].map((x) => expect.closeTo(x / (1 + Math.exp(-x)), 6));
    expect(JSON.parse(out)).toEqual({
      impl: "ref",
      values: silu,
      documented: expect.stringMatching(/./),
      code: "OPSWAP_E_SHAPE",
      to: "fp8_block128",
    });
  });

  it("does what docs/install.md shows", () => {
    const page = readFileSync(path.join(root, "docs/install.md"), "utf8");
    expect(compile(/```ts\n(.*?)```/s.exec(page)?.[1] ?? "no example")).toEqual({
      code: 0,
      out: "",
      err: "",
    });
    const { code, out } = place.run("node", ["user.js"]);
    expect(code).toBe(0);
    expect(out).toMatch(/^cpu Float32Array\(4\) \[\s+-0\.26/);
  });

  it("is refused by the compiler where an op is misspelt or lacks an argument", () => {
    expect(compile(USER.replace('"silu", { input, out }', '"sliu", { input, out }')).out).toMatch(
      /TS2345|TS2820/,
    );
    expect(compile(USER.replace("{ input, out }", "{ input }")).out).toMatch(/'out' is missing/);
  });

  it("is had by require as well", () => {
    const code =
      'require("opswap").connectLocal().then((c) => c.status()).then((s) => console.log(s.version.pack_version))';
    expect(place.run("node", ["--input-type=commonjs", "-e", code]).out).toBe(`${version}\n`);
  });

  it("does not give its inner files", () => {
    expect(place.module('import "opswap/dist/native.js"').err).toMatch(/ERR_PACKAGE_PATH_NOT_EXPORTED/);
  });
});

describe("taking it away", () => {
  it("leaves nothing of it but its cache and what was converted", () => {
    const own = readdirSync(place.home, { recursive: true, encoding: "utf8" });
    expect(own.filter((file) => !/^\.npm|^\.cache(\/opswap|$)/.test(file))).toEqual([]);
    expect(place.npm("uninstall", "opswap", NATIVE).code).toBe(0);
    const left = readdirSync(place.file(), { recursive: true, encoding: "utf8" });
    expect(left.filter((file) => /opswap/.test(file) && file !== "@opswap")).toEqual([]);
    expect(readdirSync(place.env.OPSWAP_RUNTIME_DIR ?? "")).toEqual([]);
  });
});
