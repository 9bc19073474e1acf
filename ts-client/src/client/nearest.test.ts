import { expect, it } from "vitest";
import { didYouMean, nearest } from "./nearest.js";

const NAMES = ["status", "ops", "use", "rms_norm", "layer_norm"];

it.each([
  ["statsu", "status"], // exchanged
  ["sttus", "status"], // left out
  ["usee", "use"], // put in
  ["RMS_nrom", "rms_norm"],
  ["op", "ops"],
  ["laier_norm", "layer_norm"],
])("%s is probably %s", (given, meant) => {
  expect(nearest(given, NAMES)).toBe(meant);
});

it.each(["", "gemm_fp8", "xx", "softmax"])("%j is near to none", (given) => {
  expect(nearest(given, NAMES)).toBeUndefined();
  expect(didYouMean(given, NAMES)).toBe("");
});
