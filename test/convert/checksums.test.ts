import { createHash } from "node:crypto";
import {
  cpSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import path from "node:path";
import { afterAll, beforeEach, describe, expect, it } from "vitest";
import { buildFaults, convert, events, scratch, writeCheckpoint } from "./harness.js";

const { dir, remove } = scratch();
const good = writeCheckpoint(path.join(dir, "good"));
const source = path.join(dir, "source");
const output = path.join(dir, "out");
const SHARDS = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"];
const [FIRST = "", SECOND = ""] = SHARDS;

beforeEach(() => {
  for (const folder of [source, output, `${output}.partial`, path.join(dir, "blobs")])
    rmSync(folder, { recursive: true, force: true });
  cpSync(good, source, { recursive: true });
});
afterAll(remove);

const digest = (name: string) =>
  createHash("sha256")
    .update(readFileSync(path.join(good, name)))
    .digest("hex");

function flip(name: string): void {
  const file = path.join(source, name);
  const bytes = readFileSync(file);
  bytes[bytes.length - 299] = (bytes[bytes.length - 299] ?? 0) ^ 1; // an exponent
  writeFileSync(file, bytes);
}

const WAYS: [string, () => void][] = [
  [
    "SHA256SUMS",
    () =>
      writeFileSync(
        path.join(source, "SHA256SUMS"),
        SHARDS.map((name) => `${digest(name)}  ${name}\n`).join(""),
      ),
  ],
  [
    "a list for each file",
    () => {
      for (const name of SHARDS)
        writeFileSync(path.join(source, `${name}.sha256`), `${digest(name).toUpperCase()}\n`);
    },
  ],
  [
    "the note of a download",
    () => {
      const notes = path.join(source, ".cache/huggingface/download");
      mkdirSync(notes, { recursive: true });
      for (const name of SHARDS)
        writeFileSync(path.join(notes, `${name}.metadata`), `0123abcd\n${digest(name)}\n1700000000.0\n`);
    },
  ],
  [
    "a cache whose blobs are named by their digest",
    () => {
      mkdirSync(path.join(dir, "blobs"));
      for (const name of SHARDS) {
        const blob = path.join(dir, "blobs", digest(name));
        renameSync(path.join(source, name), blob);
        symlinkSync(blob, path.join(source, name));
      }
    },
  ],
];

describe.each(WAYS)("digests from %s", (_way, give) => {
  it("are compared, and a bit flipped in a tensor is refused", async () => {
    give();
    const ran = await convert(["run", source, output]);
    expect(ran).toMatchObject({ code: 0, err: "" });
    expect(
      events(ran)
        .filter((one) => one.event === "checked")
        .map((one) => one.file),
    ).toEqual(SHARDS);
    expect(readdirSync(output).filter((name) => /sha256/i.test(name))).toEqual([]);
    rmSync(output, { recursive: true });
    flip(SECOND);
    const refused = await convert(["run", source, output]);
    expect(refused.code).toBe(1);
    expect(events(refused).at(-1)).toMatchObject({ event: "error", code: "OPSWAP_E_SOURCE" });
    expect(String(events(refused).at(-1)?.message)).toContain(`${SECOND} is damaged: its sha256 is`);
  });
});

describe("a damaged file with a digest", () => {
  beforeEach(() => {
    writeFileSync(
      path.join(source, "SHA256SUMS"),
      SHARDS.map((name) => `${digest(name)} *${name}\n`).join(""),
    );
    flip(FIRST);
  });

  it("is refused however often the run was cut", async () => {
    const env = {
      LD_PRELOAD: await buildFaults(dir),
      OPSWAP_FAULT_UNDER: `${output}.partial`,
      OPSWAP_FAULT_AT: "11",
    };
    expect((await convert(["run", source, output], env)).signal).toBe("SIGKILL");
    for (const _again of [1, 2])
      expect(events(await convert(["run", source, output])).at(-1)).toMatchObject({
        code: "OPSWAP_E_SOURCE",
      });
  });

  it("is refused by the part that has its beginning, and so by merge", async () => {
    const codes = [];
    for (const part of ["1/3", "2/3", "3/3"])
      codes.push((await convert(["run", source, output, "--shard", part])).code);
    expect(codes).toEqual([1, 0, 0]);
    expect((await convert(["merge", source, output])).code).toBe(1);
  });

  it("is converted when that is asked for", async () => {
    expect((await convert([source, output, "--no-checksums"])).code).toBe(0);
  });

  it("does not verify against the source that it was, without a digest too", async () => {
    expect((await convert(["run", good, output])).code).toBe(0);
    const ran = await convert(["verify", source, output]);
    expect(events(ran).at(-1)).toMatchObject({ code: "OPSWAP_E_MISMATCH" });
  });
});

it("lists that contradict each other are refused", async () => {
  writeFileSync(path.join(source, "SHA256SUMS"), `${digest(FIRST)}  ${FIRST}\n`);
  writeFileSync(path.join(source, `${FIRST}.sha256`), `${digest(SECOND)}  ${FIRST}\n`);
  const ran = await convert(["run", source, output]);
  expect(String(events(ran).at(-1)?.message)).toMatch(/have different digests of model-00001/);
});

it("a Git LFS pointer in a file's place is told as that", async () => {
  writeFileSync(
    path.join(source, FIRST),
    `version https://git-lfs.github.com/spec/v1\noid sha256:${digest(FIRST)}\nsize 1\n`,
  );
  const ran = await convert(["run", source, output]);
  expect(String(events(ran).at(-1)?.message)).toMatch(/is a Git LFS pointer/);
});
