import { mkdirSync, writeFileSync } from "node:fs";
import path from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { runtimeFolder } from "../testing/servers.js";
import { pluginChecks, pluginTrouble, vllmProcesses } from "./doctor-plugins.js";

describe("VLLM_PLUGINS", () => {
  it.each(["opswap", "lora,opswap", "opswap,lora"])("%j lets opswap in", (plugins) => {
    expect(pluginTrouble(plugins)).toBeUndefined();
    expect(pluginChecks(plugins, [{ pid: 7, plugins }])).toEqual([]);
  });

  it.each(["", "lora", "opswapp", " opswap", "lora, opswap"])("%j leaves it out", (plugins) => {
    const [check] = pluginChecks(plugins, []);
    expect(check).toMatchObject({
      name: "VLLM_PLUGINS",
      state: "warn",
      remedy: expect.stringMatching(/add opswap/),
    });
    expect(check?.message).toContain(`this shell: VLLM_PLUGINS is '${plugins}', which leaves opswap out`);
    expect(check?.message).toContain("'_C' object has no attribute 'init_cpu_memory_env'");
  });

  it("unset says nothing of a shell, and of a server that it has no agent", () => {
    expect(pluginChecks(undefined, [])).toEqual([]);
    const [check] = pluginChecks(undefined, [{ pid: 7, plugins: undefined }]);
    expect(check?.message).toMatch(/^vLLM, process 7: VLLM_PLUGINS is not set.*no agent/);
  });
});

describe("running servers", () => {
  const { dir, remove } = runtimeFolder();
  afterAll(remove);
  const process = (pid: string, words: string[], settings: string[]) => {
    mkdirSync(path.join(dir, pid));
    writeFileSync(path.join(dir, pid, "cmdline"), [...words, ""].join("\0"));
    writeFileSync(path.join(dir, pid, "environ"), [...settings, ""].join("\0"));
  };
  process("1", ["/venv/bin/python", "/venv/bin/vllm", "serve", "M"], ["A=1", "VLLM_PLUGINS=lora", "B=2"]);
  process("2", ["python3", "-m", "vllm.entrypoints.openai.api_server"], []);
  process("3", ["python3", "lifeline.py", "/venv/bin/vllm", "serve", "M"], ["VLLM_PLUGINS=x"]);
  process("4", ["vim", "vllm"], ["VLLM_PLUGINS=x"]);
  mkdirSync(path.join(dir, "5")); // it has ended meanwhile

  it("are found by what they run, with their setting", () => {
    expect(vllmProcesses(dir)).toEqual([
      { pid: 1, plugins: "lora" },
      { pid: 2, plugins: undefined },
    ]);
  });
});
