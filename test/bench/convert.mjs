// BF16 to block FP8 against `cp` and `sync` of the same files, taking turns; the converter's time has its checksums and
// syncs in it, and no verification. Prints JSON. `--layers N` (20 are 2.07 GB in 4 shards), `--rounds N`, `--folder DIR`,
// `--sparse-gb N` converts a source of N GB of holes as well, to see that memory does not grow, and `--tensors N` one of N
// small tensors; `--to "A B"` times these layouts, each with options after commas; `--kills N` kills runs at N points and
// resumes. `--llmcompressor` times `model_free_ptq` on the same files, without and with its imports, and compares the bytes.
import { spawn, spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, statfsSync, writeFileSync } from "node:fs";
import { availableParallelism, loadavg, tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { writeCheckpoint, writeMany, writeSparse } from "./_checkpoint.mjs";
import { runPeer, SCHEMES, sameAsPeer } from "./_llmcompressor.mjs";
import { timed } from "./_timed.mjs";

const { values } = parseArgs({
  options: {
    layers: { type: "string", default: "20" },
    rounds: { type: "string", default: "5" },
    folder: { type: "string", default: tmpdir() },
    "sparse-gb": { type: "string" },
    tensors: { type: "string" },
    to: { type: "string", default: "fp8_block128" },
    kills: { type: "string" },
    llmcompressor: { type: "boolean", default: false },
  },
});
const root = fileURLToPath(new URL("../..", import.meta.url));
const vitest = join(root, "node_modules/vitest/vitest.mjs");
const cli = fileURLToPath(new URL("../../dist/opswap.cjs", import.meta.url));

/** Everything to disk, and out of the page cache where this user may. */
function settle() {
  spawnSync("sync");
  try {
    writeFileSync("/proc/sys/vm/drop_caches", "3");
    return true;
  } catch {
    return false;
  }
}

/** @param {string} source @param {string} output @param {string} layout with options after commas */
const convert = (source, output, layout) =>
  timed(process.execPath, [cli, "convert", "run", source, output, "--quiet", "--to", ...layout.split(",")]);

/** @param {string} output signal to noise of a conversion, over all */
const sqnrOf = (output) => JSON.parse(readFileSync(join(output, "conversion.json"), "utf8")).totals.sqnr_db;

/** Kills runs at that many points of all their system calls, publishing included, and resumes. @param {string} points */
async function killed(points) {
  const args = [
    vitest,
    "run",
    "--project",
    "fast",
    "test/convert/faults",
    "-t",
    "goes on at each",
    "--testTimeout=3600000",
  ];
  const env = { ...process.env, OPSWAP_KILLS: points };
  const child = spawn(process.execPath, args, { cwd: root, env, stdio: ["ignore", "pipe", "inherit"] });
  let text = "";
  child.stdout.on("data", (chunk) => {
    text += chunk;
  });
  const code = await new Promise((done) => child.on("close", done));
  const all = Number(/goes on at each of (\d+) points/.exec(text)?.[1] ?? 0);
  return { points: all, byte_identical_and_at_most_one_tensor_twice: code === 0 };
}

/** @param {number[]} theirs @param {number[]} ours @param {string} what of llm-compressor was timed */
const against = (theirs, ours, what) => ({
  [`llmcompressor_${what}_s`]: summary(theirs),
  [`faster_than_its_${what}`]: summary(theirs.map((value, round) => value / (ours[round] ?? Number.NaN))),
});

/** @param {number[]} samples */
function summary(samples) {
  const sorted = samples.toSorted((a, b) => a - b).map((value) => Number(value.toFixed(3)));
  return { median: sorted[Math.floor(sorted.length / 2)], least: sorted[0], most: sorted.at(-1) };
}

const dir = mkdtempSync(join(values.folder, "opswap-bench-"));
try {
  const source = join(dir, "source");
  const output = join(dir, "output");
  const bytes = writeCheckpoint(source, { layers: Number(values.layers), shards: 4 });
  const layouts = values.to.split(" ");
  let cold = true;
  /** @type {number[]} */
  const copy = [];
  /** @typedef {{ seconds: number[], peaks: number[], sqnr: number | null, peer: { call: number, process: number }[], same?: unknown }} Row */
  /** @type {Map<string, Row>} */
  const ours = new Map(layouts.map((layout) => [layout, { seconds: [], peaks: [], sqnr: null, peer: [] }]));
  for (let round = 0; round < Number(values.rounds); round++) {
    cold = settle() && cold;
    copy.push((await timed("sh", ["-c", 'cp -r "$0" "$1" && sync', source, output])).seconds);
    rmSync(output, { recursive: true });
    for (const [layout, row] of ours) {
      cold = settle() && cold;
      const { seconds, peak } = await convert(source, output, layout);
      row.seconds.push(seconds);
      row.peaks.push(peak / 1e6);
      row.sqnr = Number(sqnrOf(output).toFixed(2));
      const scheme = SCHEMES[layout.split(",")[0] ?? ""];
      if (values.llmcompressor && scheme !== undefined) {
        const theirs = join(dir, "theirs");
        cold = settle() && cold;
        row.peer.push(runPeer(source, theirs, scheme));
        row.same = sameAsPeer(output, theirs);
        rmSync(theirs, { recursive: true });
      }
      rmSync(output, { recursive: true });
    }
  }
  /** @type {Record<string, unknown>} */
  const result = {
    what: "conversions against cp and sync",
    source_gb: Number((bytes / 1e9).toFixed(3)),
    cold_cache: cold,
    cores: availableParallelism(),
    load: loadavg().map((value) => Number(value.toFixed(2))),
    cp_sync_s: summary(copy),
    layouts: [...ours].map(([layout, { seconds, peaks, sqnr, peer, same }]) => ({
      layout,
      convert_s: summary(seconds),
      ratio: summary(seconds.map((value, round) => value / (copy[round] ?? Number.NaN))),
      peak_rss_mb: summary(peaks),
      sqnr_db: sqnr,
      ...(peer.length > 0 && {
        ...against(
          peer.map(({ call }) => call),
          seconds,
          "call",
        ),
        ...against(
          peer.map(({ process: whole }) => whole),
          seconds,
          "process",
        ),
        same_as_llmcompressor: same,
      }),
    })),
  };
  if (values["sparse-gb"] !== undefined) {
    const sparse = join(dir, "sparse");
    const gb = writeSparse(sparse, Number(values["sparse-gb"])) / 1e9;
    const { bavail, bsize } = statfsSync(dir);
    if (bavail * bsize < gb * 0.6e9) throw new Error(`${dir} has no room for the output of ${gb} GB`);
    const { seconds, peak } = await convert(sparse, output, "fp8_block128");
    result.sparse = { source_gb: gb, seconds, peak_rss_mb: peak / 1e6 };
  }
  if (values.tensors !== undefined) {
    const many = join(dir, "many");
    writeMany(many, Number(values.tensors));
    rmSync(output, { recursive: true, force: true });
    const run = await convert(many, output, "fp8_block128");
    const verify = await timed(process.execPath, [cli, "convert", "verify", many, output, "--quiet"]);
    const peaks = { run: run.peak / 1e6, verify: verify.peak / 1e6 };
    result.many = { tensors: Number(values.tensors), seconds: run.seconds, peak_rss_mb: peaks };
  }
  if (values.kills !== undefined) result.kills = await killed(values.kills);
  console.log(JSON.stringify(result, null, 2));
} finally {
  rmSync(dir, { recursive: true, force: true });
}
