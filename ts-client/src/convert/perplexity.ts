import { spawnSync } from "node:child_process";
import { existsSync, statSync } from "node:fs";
import path from "node:path";
import { pythonEnvironment } from "../python-environment.js";
import { convertError } from "./errors.js";
import { pageText } from "./page.js";
import { type MeasuredPerplexity, measuredPerplexity } from "./perplexity-report.js";
import { type Report, readReport, reportText } from "./report.js";
import { PAGE, REPORT } from "./side-files.js";
import { replaceFile } from "./text-file.js";

export interface PerplexityOptions {
  /** A file of text. */
  text: string;
  tokens?: number;
}

/** Runs source and output on a text, in float32, and writes what came of it into the output's report. */
export function perplexity(source: string, output: string, options: PerplexityOptions): MeasuredPerplexity {
  const report = readReport(output);
  if (report === undefined)
    throw convertError("OPSWAP_E_OUTPUT", `${output} has no ${REPORT}`, "convert first");
  const noText = `${options.text} is no file of text`;
  if (!existsSync(options.text)) throw convertError("OPSWAP_E_SOURCE", noText, "name one by --text");
  if (!existsSync(source) || !statSync(source).isDirectory())
    throw convertError(
      "OPSWAP_E_CANNOT_CONVERT",
      `${source} is no folder of safetensors, config.json and tokenizer, which transformers reads`,
      "convert the source --to bf16, and measure against that",
    );
  const found = ask(source, output, options);
  const told = typeof found === "string" ? { absent: found } : found;
  write(output, { ...report, perplexity: told });
  if (typeof found !== "string") return found;
  throw convertError(
    "OPSWAP_E_CANNOT_CONVERT",
    `the perplexity of ${output} cannot be measured: ${found}`,
    "OPSWAP_PYTHON names a Python with torch, transformers and opswap; `npm run build` sets one up",
  );
}

/** What was measured, or why nothing was. */
function ask(source: string, output: string, { text, tokens }: PerplexityOptions) {
  const { python, env } = pythonEnvironment();
  const places = [source, output, "--text", text].map((place, i) => (i === 2 ? place : path.resolve(place)));
  const args = ["-m", "opswap.perplexity", ...places, ...(tokens ? ["--tokens", String(tokens)] : [])];
  const { status, stdout, stderr, error } = spawnSync(python, args, { env, encoding: "utf8" });
  if (status === 0) return measuredPerplexity.parse(JSON.parse(stdout.trim().split("\n").at(-1) ?? ""));
  return (error?.message ?? stderr.trim().split("\n").at(-1) ?? "").slice(0, 300);
}

function write(output: string, report: Report): void {
  replaceFile(path.join(output, PAGE), pageText(report));
  replaceFile(path.join(output, REPORT), reportText(report));
}
