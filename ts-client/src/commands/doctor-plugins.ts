/** Finds vLLM servers that run without opswap, for `opswap doctor`. */
import { readdirSync, readFileSync } from "node:fs";
import path from "node:path";
import type { Check } from "../generated/messages.js";

/** A `vllm serve` of this user: its pid and what VLLM_PLUGINS is there. */
export interface VllmProcess {
  pid: number;
  plugins: string | undefined;
}

const NAME = "VLLM_PLUGINS";
const REMEDY = "start vLLM with VLLM_PLUGINS=opswap, or add opswap to the list";
/** What a vLLM for CUDA says on a CPU when our stand-ins for its kernels are not loaded. */
const WORDS = `"'_C' object has no attribute 'init_cpu_memory_env'"`;

/**
 * What a setting of VLLM_PLUGINS keeps from being loaded. vLLM takes the names between the commas letter by letter,
 * all plugins when it is not set, and plugins that open an endpoint, such as the agent, only by name.
 */
export function pluginTrouble(plugins: string | undefined): string | undefined {
  if (plugins === undefined) return `${NAME} is not set, so the ops are loaded but no agent is started`;
  if (plugins.split(",").includes("opswap")) return undefined;
  return `${NAME} is '${plugins}', which leaves opswap out, so nothing of it is loaded; on a CPU vLLM then ends with ${WORDS}`;
}

/** A check for each place where opswap is left out: this shell, from which vLLM may be started, and running servers. */
export function pluginChecks(shell: string | undefined, servers: readonly VllmProcess[]): Check[] {
  const places = servers.map(({ pid, plugins }) => ({ where: `vLLM, process ${pid}`, plugins }));
  // A shell that does not set it may still be one that starts no server.
  if (shell !== undefined) places.unshift({ where: "this shell", plugins: shell });
  return places.flatMap(({ where, plugins }) => {
    const trouble = pluginTrouble(plugins);
    return trouble === undefined
      ? []
      : [{ name: NAME, state: "warn" as const, message: `${where}: ${trouble}`, remedy: REMEDY }];
  });
}

/** Servers of this user that run now; what others own cannot be read and is left out. */
export function vllmProcesses(proc = "/proc"): VllmProcess[] {
  return readdirSync(proc)
    .filter((name) => /^\d+$/.test(name))
    .flatMap((pid) => {
      try {
        const words = readFileSync(path.join(proc, pid, "cmdline"), "utf8").split("\0");
        if (!isServer(words)) return [];
        const settings = readFileSync(path.join(proc, pid, "environ"), "utf8").split("\0");
        const found = settings.find((setting) => setting.startsWith(`${NAME}=`));
        return [{ pid: Number(pid), plugins: found?.slice(NAME.length + 1) }];
      } catch {
        return [];
      }
    });
}

/** `vllm serve` as an interpreter runs it, or the module; what merely starts or watches one has it further back. */
function isServer(words: readonly string[]): boolean {
  const [, first = "", second = "", third = ""] = words;
  if (first === "-m")
    return second === "vllm.entrypoints.openai.api_server" || (second === "vllm" && third === "serve");
  return path.basename(first) === "vllm" && second === "serve";
}
