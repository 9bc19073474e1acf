/** `register`, `candidates` and `build-key`, as a user runs them, on an engine whose ranks are stand-ins. */
import { createPublicKey, verify } from "node:crypto";
import { chmodSync, copyFileSync, mkdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import path from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { fakeEngine, opswap, root, type Server, scratch } from "./harness.js";

const { dir, remove } = scratch();
const file = (name: string) => path.join(dir, name);

describe("opswap build-key", () => {
  it("makes a key that nobody else can read, and never another one's place", async () => {
    const made = JSON.parse((await opswap(["build-key", "new", file("my.key"), "--json"])).out);
    expect(statSync(file("my.key")).mode & 0o777).toBe(0o600);
    expect(Buffer.from(made.public_key, "base64")).toHaveLength(32);
    const key = readFileSync(file("my.key"), "utf8");
    const again = await opswap(["build-key", "new", file("my.key")]);
    expect(again).toMatchObject({ code: 1, err: expect.stringMatching(/EEXIST/) });
    expect(readFileSync(file("my.key"), "utf8")).toBe(key);
  });

  it("describes a build and signs the description", async () => {
    mkdirSync(file("build"));
    const sign = () =>
      opswap(["build-key", "sign", file("build"), "--key", file("my.key"), "--name", "tuned"]);
    expect(await sign()).toMatchObject({ code: 1, err: expect.stringMatching(/has no libopswap\*\.so/) });
    copyFileSync(path.join(root, "build/native/libopswap.so"), file("build/libopswap.so"));
    expect(await sign()).toMatchObject({ code: 0, err: "" });
    const text = readFileSync(file("build/build.json"));
    const signature = Buffer.from(readFileSync(file("build/build.json.sig"), "utf8"), "base64");
    expect(verify(null, text, createPublicKey(readFileSync(file("my.key"))), signature)).toBe(true);
    const manifest = JSON.parse((await opswap(["manifest", "--local", "--json"])).out);
    expect(JSON.parse(text.toString())).toMatchObject({ name: "tuned", library: "libopswap.so" });
    expect(Object.keys(JSON.parse(text.toString()).ops)).toEqual(
      manifest.ops.map(({ op }: { op: string }) => op),
    );
  });

  it("refuses a key that others can read, a file that has none, and a name that is none", async () => {
    const sign = (key: string, name = "tuned") =>
      opswap(["build-key", "sign", file("build"), "--key", file(key), "--name", name]);
    expect((await sign("my.key", "No@Name")).code).toBe(2);
    chmodSync(file("my.key"), 0o640);
    expect(await sign("my.key")).toMatchObject({ code: 1, err: expect.stringMatching(/chmod 600/) });
    writeFileSync(file("none.key"), "no key", { mode: 0o600 });
    expect(await sign("none.key")).toMatchObject({ code: 1, err: expect.stringMatching(/no ed25519/) });
  });
});

describe("opswap candidates and register", () => {
  const env = { OPSWAP_RUNTIME_DIR: dir };
  let engine: Server;
  beforeAll(async () => {
    engine = await fakeEngine(dir, "one");
  });
  afterAll(async () => {
    await engine?.stop();
    remove();
  });

  it("lists every implementation and who brought it", async () => {
    const { code, out } = await opswap(["candidates", "rms_norm"], env);
    expect(code).toBe(0);
    expect(out).toMatch(/^\* +rms_norm +cpu +library +d{12} +yes/m);
    expect(out).toMatch(/^ +rms_norm +framework +engine +- +yes +1\.0 us/m);
    expect(out).toMatch(/^ +rms_norm +sm90 +library +d{12} +no +- +no usable CUDA device/m);
    expect((await opswap(["candidates", "rms_nrom"], env)).err).toMatch(/did you mean rms_norm/);
  });

  it("says what an engine without a configuration takes", async () => {
    writeFileSync(file("mine.py"), "def rms_norm(out, x):\n    pass\n");
    const ran = await opswap(["register", file("mine.py"), "--op", "rms_norm", "--as", "mine"], env);
    expect(ran).toMatchObject({ code: 1, out: "" });
    expect(ran.err).toMatch(
      /takes no candidates; start it with OPSWAP_CANDIDATES=FILE.*\[OPSWAP_E_CANDIDATE\]/,
    );
  });
});
