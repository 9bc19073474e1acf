/** docs/engines, without an engine: each adapter has its page, and what a page tells is what the adapter has. */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import path from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { blocks, commands, page } from "./engine-pages.js";
import { opswap, root, scratch } from "./harness.js";

const { dir, remove } = scratch();
afterAll(remove);
const read = (file: string) => readFileSync(path.join(root, file), "utf8");
const pages = readdirSync(path.join(root, "docs/engines"))
  .filter((name) => name !== "README.md")
  .map((name) => path.basename(name, ".md"));
const adapters = readdirSync(path.join(root, "adapters")).filter((name) =>
  existsSync(path.join(root, "adapters", name, "entry_points.txt")),
);

/** Without blanks and comments. */
const bare = (text: string) =>
  text
    .split("\n")
    .map((line) => line.replace(/#.*/, "").trim())
    .filter(Boolean);

describe("docs/engines", () => {
  it("has a page for each adapter", () => {
    expect(pages).toEqual(expect.arrayContaining(adapters));
  });

  it("has in vLLM's page the lines that README has, which a test runs beside opswap's wheel", () => {
    const readme = [...read("README.md").matchAll(/^```\n(export VLLM_PLUGINS.*?)^```$/gms)].map(
      ([, b]) => b,
    );
    expect(readme).toHaveLength(2);
    expect(blocks(page("vllm")).filter((block) => block.startsWith("export"))).toEqual(readme);
  });
});

describe.each(pages)("docs/engines/%s.md", (engine) => {
  const told = page(engine);

  it("exports only variables that the adapter's example has", () => {
    const example = `adapters/${engine}/config.example`;
    if (!existsSync(path.join(root, example))) return;
    const known = read(example);
    const exported = blocks(told)
      .flatMap(bare)
      .filter((line) => line.startsWith("export "));
    for (const line of exported) expect(known).toContain(line.replace("export ", "").split("=")[0]);
  });

  it("names modules and files that are there", () => {
    for (const [, name = ""] of told.text.matchAll(/python -m opswap\.(adapters\.\w+\.\w+)/g)) {
      const file = `${name.replaceAll(".", "/")}.py`;
      if (existsSync(path.join(root, path.dirname(file))))
        expect(existsSync(path.join(root, file)), file).toBe(true);
    }
  });

  it("proves that opswap runs", () => {
    const hasAgent = existsSync(path.join(root, `adapters/${engine}/agent.py`));
    const verbs = commands(told).map(({ words }) => words[0]);
    if (hasAgent) expect(verbs).toEqual(expect.arrayContaining(["doctor", "ops", "use", "status"]));
    // Without an agent to ask, its ranks write reports.
    else expect(blocks(told).join()).toMatch(`opswap.adapters.${engine}.doctor --reports`);
  });

  it.each(commands(told))("opswap $line is a verb with these options", async ({ words }) => {
    const env = { OPSWAP_RUNTIME_DIR: path.join(dir, "run"), OPSWAP_STATE_DIR: path.join(dir, "state") };
    // In the place of a folder of an engine that is not installed here.
    const here = words.map((word) => (word.startsWith("/usr/") ? dir : word));
    const { code, err } = await opswap(here, env);
    expect(err).not.toMatch(/unknown (option|command)|too many arguments|missing required/);
    expect(code).not.toBe(2);
  });
});
