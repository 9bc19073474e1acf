/** Starts SGLang's server. */
import path from "node:path";
import { HOST, type Launch, MODEL_NAME, type Setup } from "./launch.js";

/** On a CPU it would keep a core busy while it has nothing to do. */
const CPU = ["--device", "cpu", "--disable-cuda-graph", "--sleep-on-idle"];
/** The model's weights do not fit into the share of the memory that SGLang would give them, but into this one. */
const MEMORY = ["--mem-fraction-static", "0.5", "--max-total-tokens", "8192"];
const SMALL = ["--context-length", "1024", "--max-running-requests", "8", "--skip-server-warmup"];

export const SGLANG: Launch = {
  name: "sglang",
  engine: "SGLang",
  server: "sglang.launch_server",
  environment: ({ packages }) => ({ SGLANG_PLUGINS: "opswap", PYTHONPATH: packages }),
  words({ engine, model }: Setup, port) {
    const opswap = ["--attention-backend", "opswap"];
    const address = ["--served-model-name", MODEL_NAME, "--host", HOST, "--port", `${port}`];
    const served = [path.join(engine, "bin", "python"), "-m", "sglang.launch_server", "--model-path", model];
    return [...served, ...opswap, ...address, ...CPU, ...MEMORY, ...SMALL];
  },
};
