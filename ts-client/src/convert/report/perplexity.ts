/** Measures the perplexity of source and output in Python, and writes it into the output's report. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, statSync } from "node:fs";
import path from "node:path";
import { text } from "node:stream/consumers";
import { childOf, pythonEnvironment } from "../../python-environment.js";
import { convertError } from "../errors.js";
import { PAGE, REPORT } from "../source/side-files.js";
import { replaceFile } from "../text/text-file.js";
import { pageText } from "./page.js";
import { type MeasuredPerplexity, measuredPerplexity } from "./perplexity-report.js";
import { type Report, readReport, reportText } from "./report.js";

export interface PerplexityOptions {
  /** A file of text. */
  text: string;
  tokens?: number;
}

/** Runs source and output on a text, in float32, and writes what came of it into the output's report. */
export async function perplexity(
  source: string,
  output: string,
  options: PerplexityOptions,
): Promise<MeasuredPerplexity> {
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
  const found = await ask(source, output, options);
  const told = typeof found === "string" ? { absent: found } : found;
  write(output, { ...report, perplexity: told });
  if (typeof found !== "string") return found;
  throw convertError(
    "OPSWAP_E_CANNOT_CONVERT",
    `the perplexity of ${output} cannot be measured: ${found}`,
    "OPSWAP_PYTHON names a Python with torch, transformers and opswap",
  );
}

/** What was measured, or why nothing was. */
async function ask(source: string, output: string, { text: file, tokens }: PerplexityOptions) {
  const places = [path.resolve(source), path.resolve(output), "--text", file];
  const count = tokens ? ["--tokens", String(tokens)] : [];
  const { code, out, err } = await answerOf(["-m", "opswap.perplexity", ...places, ...count]);
  if (code === 0) return measuredPerplexity.parse(JSON.parse(out.trim().split("\n").at(-1) ?? ""));
  return (err.trim().split("\n").at(-1) ?? "").slice(0, 300);
}

/** Runs Python, and leaves this process free to hear that it shall end. */
async function answerOf(args: readonly string[]): Promise<{ code: number | null; out: string; err: string }> {
  const { python, env } = pythonEnvironment();
  const child = spawn(python, args, { env: childOf(env), stdio: ["ignore", "pipe", "pipe"] });
  const [out, err] = [text(child.stdout), text(child.stderr)];
  try {
    const [code] = await once(child, "close");
    return { code, out: await out, err: await err };
  } catch (error) {
    return { code: null, out: "", err: (error as Error).message };
  }
}

function write(output: string, report: Report): void {
  replaceFile(path.join(output, PAGE), pageText(report));
  replaceFile(path.join(output, REPORT), reportText(report));
}
