import { Command } from "commander";
import { connectEngine, connectSidecar, discover, type Found, OpswapError } from "../client/index.js";
import type { StatusResult } from "../generated/messages.js";
import { age } from "../view/format.js";
import {
  type Context,
  EXIT,
  examples,
  show,
  sidecarOption,
  type Target,
  targetOptions,
  withTarget,
} from "./context.js";

/** A server, with its own account of itself or the reason why it gave none. */
export interface Standing {
  name: string;
  service: string;
  pid: number;
  state: Found["state"];
  reason: string;
  status?: StatusResult;
}

export function statusCommand(context: Context): Command {
  const command = new Command("status")
    .description("show what is running: engines, the sidecar, their ranks and switches")
    .addHelpText("after", examples("status", "status --engine smollm2 --json"));
  return sidecarOption(targetOptions(command)).action(async (options: Target) => {
    if (options.local || options.sidecar !== undefined || options.engine !== undefined) {
      const result = await withTarget(options, (client) => client.status());
      show(context.io, options.json, result, statusLines);
    } else {
      const all = await Promise.all(discover().map(standing));
      if (all.length === 0)
        throw new OpswapError("OPSWAP_E_NOT_RUNNING", "no engine and no sidecar is running");
      show(context.io, options.json, all, (list) => list.flatMap(standingLines));
    }
    context.exitCode = EXIT.ok;
  });
}

async function standing({ name, service, pid, state, reason }: Found): Promise<Standing> {
  if (state === "dead") return { name, service, pid, state, reason };
  const connect = service === "engine" ? connectEngine : connectSidecar;
  try {
    const client = await connect({ name, atOnce: true });
    try {
      return { name, service, pid, state, reason, status: await client.status() };
    } finally {
      await client.close();
    }
  } catch (error) {
    if (!(error instanceof OpswapError)) throw error;
    return { name, service, pid, state: "hung", reason: error.message };
  }
}

function standingLines(found: Standing): string[] {
  const head = `${found.service} ${found.name}: ${found.state}, process ${found.pid}`;
  if (!found.status) return [`${head}: ${found.reason}`];
  return [head, ...statusLines(found.status).map((line) => `  ${line}`)];
}

/** An account of one server, one fact a line. */
export function statusLines(status: StatusResult): string[] {
  const { version, framework } = status;
  const host = framework ? [`${framework.name} ${framework.version} serves ${framework.model}`] : [];
  const choice = Object.entries(status.choice).map(([op, impl]) => `${op}=${impl}`);
  return [
    ...host,
    `opswap ${version.pack_version} (build ${version.build_digest.slice(0, 12)}), ${version.cpu_isa}; ${version.device_status}`,
    `up ${age(Date.now() - status.started)}, epoch ${status.epoch}, switched: ${choice.join(" ") || "nothing"}`,
    ...(status.restored.outcome === "none" ? [] : [`last run's choice: ${status.restored.message}`]),
    ...(status.switching ? ["a switch is under way"] : []),
    ...(status.divergence === null ? [] : [`RANKS DIFFER: ${status.divergence}`]),
    ...status.ranks.map((rank) => `rank ${rank.rank}: step ${rank.step}, epoch ${rank.epoch}`),
  ];
}
