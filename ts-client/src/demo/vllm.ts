/** Starts `vllm serve`. */
import path from "node:path";
import { HOST, type Launch, MODEL_NAME, type Setup } from "./launch.js";

const EXTENSION = "opswap.adapters.vllm.worker.WorkerExtension";
// Eager is up in seconds; compiled takes half a minute or more at every start, since vLLM cannot reuse it on a CPU.
const SMALL = ["--enforce-eager", "--max-model-len", "1024", "--max-num-seqs", "8"];

export const VLLM: Launch = {
  name: "vllm",
  engine: "vLLM",
  server: "vllm serve",
  environment({ packages }) {
    const opswap = { VLLM_PLUGINS: "opswap", PYTHONPATH: packages };
    // The wheel is the CUDA one, so vLLM has to be told that there is no GPU.
    return { ...opswap, VLLM_TARGET_DEVICE: "cpu", VLLM_NO_USAGE_STATS: "1" };
  },
  words({ engine, model, extension = EXTENSION }: Setup, port) {
    const opswap = ["--worker-extension-cls", extension];
    const address = ["--served-model-name", MODEL_NAME, "--host", HOST, "--port", `${port}`];
    const cache = ["--kv-cache-memory-bytes", `${128 << 20}`];
    return [path.join(engine, "bin", "vllm"), "serve", model, ...opswap, ...address, ...SMALL, ...cache];
  },
};
