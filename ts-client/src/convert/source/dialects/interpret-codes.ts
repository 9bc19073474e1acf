/** Reads a quantised source: each dialect takes the codes that it knows, and unknown ones are refused. */
import type { Source, SourceFile } from "../source.js";
import { leave, withoutActivations } from "./activation-scales.js";
import { takeAwqAndGptq } from "./awq-gptq.js";
import { takeFp8 } from "./fp8.js";
import { takeHalves } from "./half-bytes.js";
import { takeMxfp4 } from "./mxfp4.js";
import { takeBytes, takePacked } from "./packed.js";
import { quantizationOf } from "./quantization.js";
import { Reading } from "./reading.js";
import type { Quantization } from "./types.js";
import { refuseUnknownCodes } from "./unknown-codes.js";

/** Of these tools a checkpoint without codes is not what config.json says; others may quantise the cache alone. */
const CODES_ALWAYS: ReadonlySet<string | null> = new Set(["awq", "gptq", "mxfp4", "w4afp8"]);

/** What each finds is its own; the first that takes a tensor has it. */
const DIALECTS = [takeFp8, takeHalves, takePacked, takeBytes, takeAwqAndGptq, takeMxfp4];

/** A source as its weights are read: codes with what they are multiplied by, and without what no output holds. */
export function interpretCodes(opened: Source): Source {
  if (opened.kind === "gguf") return opened;
  const quantization = quantizationOf(opened);
  const quantized = quantization.method !== null || anyCodes(opened);
  const source = withoutActivations(opened, quantized);
  const reading = new Reading(source, quantization);
  for (const take of dialectsOf(quantization)) take(reading);
  refuseUnknownCodes(reading, quantized);
  const fp8 = reading.found || (quantization.known && !CODES_ALWAYS.has(quantization.method));
  const files = source.files.map((file) => asRead(file, reading));
  return { ...source, files, fp8 };
}

/** Of a tool that is not known, FP8 with scales beside it is read; of a known one's other ways, nothing. */
function dialectsOf({ unread, method }: Quantization) {
  if (unread === undefined) return DIALECTS;
  return unread === method ? [takeFp8] : [];
}

const anyCodes = ({ files }: Source) =>
  files.some(({ header }) => header.tensors.some(({ dtype }) => /^F[48]_?/.test(dtype)));

function asRead(given: SourceFile, reading: Reading): SourceFile {
  const file = leave(given, reading.whyLeft);
  const { header } = file;
  return { ...file, header: { ...header, tensors: header.tensors.map(reading.read) } };
}
