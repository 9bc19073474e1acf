// The demo's and the tests' model: SmolLM2-135M-Instruct, dequantised once into the cache.
import { join } from "node:path";
import { logged } from "./exec.mjs";
import { cacheDir } from "./paths.mjs";
import { pythonEnv } from "./setup.mjs";
import { step } from "./ui.mjs";

/** @param {string} engine folder of the engine's environment @returns {Promise<string>} the model's folder */
export async function ensureModel(engine) {
  const folder = join(cacheDir(), "models", "smollm2-135m-bfloat16");
  const args = ["-m", "opswap.adapters.common.demo_model", "--out", folder];
  const env = pythonEnv(engine);
  await step("model SmolLM2-135M-Instruct", (progress) =>
    logged("model", join(engine, "bin/python"), args, { env, progress }),
  );
  return folder;
}
