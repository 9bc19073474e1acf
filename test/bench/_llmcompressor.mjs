// llm-compressor in its own Python, which `npm run bench` names in OPSWAP_LLMCOMPRESSOR_PYTHON.
import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";

const side = fileURLToPath(new URL("_llmcompressor_side.py", import.meta.url));

/** What `model_free_ptq` calls our layouts. @type {Record<string, string>} */
export const SCHEMES = { fp8_block128: "FP8_BLOCK", ct_fp8_block: "FP8_BLOCK", w4a8_g128_vllm: "W4AFP8" };

/** @param {string[]} args its last line, which is JSON */
function python(args) {
  const command = process.env.OPSWAP_LLMCOMPRESSOR_PYTHON ?? "python3";
  const ran = spawnSync(command, [side, ...args], { encoding: "utf8", maxBuffer: 1 << 28 });
  if (ran.status !== 0)
    throw new Error(`llm-compressor ${args.join(" ")} failed:\n${ran.stderr.slice(-2000)}`);
  return JSON.parse(ran.stdout.trimEnd().split("\n").at(-1) ?? "");
}

/**
 * Seconds of its call, and of its process with the imports.
 * @param {string} source @param {string} output @param {string} scheme @returns {{ call: number, process: number }}
 */
export function runPeer(source, output, scheme) {
  const started = performance.now();
  const { seconds } = python([source, output, scheme]);
  return { call: seconds, process: (performance.now() - started) / 1000 };
}

/** Share of equal codes and scales. @param {string} ours @param {string} theirs @returns {unknown} */
export const sameAsPeer = (ours, theirs) => python(["--same", ours, theirs]);
