import { execFileSync } from "node:child_process";
import { existsSync, writeSync } from "node:fs";
import { freemem } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { root } from "./paths.mjs";
import { pythonTests } from "./python-tests.mjs";
import { sideBySide } from "./schedule.mjs";
import { table } from "./table.mjs";
import { SetupError } from "./ui.mjs";

const GB = 1024 ** 3;
/** @type {import("./setup.mjs").Workshop} */
const workshop = {
  python: { path: "", version: "", minor: 11, venv: true, headers: true },
  tools: "",
  nvcc: null,
};
const one = { passed: 1, failed: [], skipped: [] };
/** @type {string[]} */
let printed = [];
/** @type {import("vitest").MockInstance} */
let stderr;

beforeAll(() => {
  stderr = vi.spyOn(process.stderr, "write").mockImplementation((text) => printed.push(String(text)) > 0);
});
afterAll(() => stderr.mockRestore());

/** @param {string} name @param {Partial<import("./suites.mjs").Suite>} [changes] @returns {import("./suites.mjs").Suite} */
function suite(name, changes = {}) {
  return { name, tier: "fast", gb: 0, setUp: async () => ({}), run: async () => one, ...changes };
}

describe("suites side by side", () => {
  it("come back in their order, each with its output whole", async () => {
    printed = [];
    const slow = suite("slow", {
      run: async (_workshop, _needs, { fd }) => {
        writeSync(fd, "first\n");
        await sleep(50);
        writeSync(fd, "second\n");
        return one;
      },
    });
    const outcomes = await sideBySide([slow, suite("quick")], workshop);
    expect(outcomes.map(({ name }) => name)).toEqual(["slow", "quick"]);
    expect(printed.join("")).toContain("== slow\nfirst\nsecond\n");
  });

  it("hand what a set-up found to the run, and a reason to skip is one skip", async () => {
    /** @type {unknown[]} */
    const seen = [];
    const run = async (/** @type {unknown} */ _, /** @type {unknown} */ needs) => {
      seen.push(needs);
      return one;
    };
    const outcomes = await sideBySide(
      [
        suite("a", { setUp: async () => ({ A: "1" }), run }),
        suite("b", { setUp: async () => "no card", run }),
      ],
      workshop,
    );
    expect(seen).toEqual([{ A: "1" }]);
    expect(outcomes[1]?.results).toEqual({
      passed: 0,
      failed: [],
      skipped: [{ name: "b", reason: "no card" }],
    });
  });

  it("count a set-up that fails as one failure and go on", async () => {
    printed = [];
    const broken = suite("broken", { setUp: () => Promise.reject(new SetupError("no compiler")) });
    const outcomes = await sideBySide([broken, suite("next")], workshop);
    expect(outcomes.map(({ results }) => results.failed)).toEqual([["broken: set-up"], []]);
    expect(printed.join("")).toContain("opswap: broken: no compiler");
  });

  it("run alone when they need more memory than there is", async () => {
    let running = 0;
    let most = 0;
    const run = async () => {
      most = Math.max(most, ++running);
      await sleep(20);
      running -= 1;
      return one;
    };
    const gb = freemem() / GB;
    const outcomes = await sideBySide(
      [suite("a", { gb, run }), suite("b", { gb, run }), suite("c", { gb, run })],
      workshop,
    );
    expect(outcomes.map(({ name }) => name)).toEqual(["a", "b", "c"]);
    expect(most).toBe(1);
  });
});

describe("the table", () => {
  it("has a row for each suite with set-up and run apart", () => {
    const results = { passed: 3, failed: ["a"], skipped: [{ name: "x", reason: "y" }] };
    const lines = table(1600, [{ name: "C++", results, setUpMs: 61_400, runMs: 2_000 }], 65_000).split("\n");
    expect(lines.map((line) => line.split(/ {2,}/))).toEqual([
      ["suite", "tests", "set-up s", "run s"],
      ["environments and build", "2", ""],
      ["C++", "5", "61", "2"],
      ["all, side by side", "65"],
    ]);
  });
});

describe("Python tests", () => {
  it("belong to one suite each, those that need something to that of what they need", () => {
    const places = {
      fast: ["test/ops/test_rooms.py", "test/house/test_house_rules.py"],
      adapters: ["test/adapters/common/test_every_adapter.py"],
      vllm: ["test/adapters/vllm/test_switch.py", "test/adapters/common/test_control.py"],
      sglang: ["test/adapters/sglang/test_layers.py"],
      "sglang-engine": ["test/adapters/sglang/test_engine_switch.py"],
      loaders: ["test/loaders/test_loaders.py"],
      torch: ["test/ops/test_torch_ops.py", "test/gpu/test_torch_measure.py"],
      emulated: ["test/ops/test_emulated.py"],
      "emulated-arrays": ["test/ops/test_emulated_arrays.py"],
      "emulated-torch": [
        "test/adapters/vllm/test_emulated_torch_attention.py",
        "test/ops/test_emulated_torch.py",
      ],
      static: ["test/static/test_static_gates.py"],
      "host-paths": ["test/gpu/test_gpu_host.py", "test/roofline/test_roofline.py"],
      ray: ["test/convert/test_ray_driver.py"],
      mpi: ["test/adapters/trtllm/test_mpi_import_path.py"],
      package: ["test/package/test_wheels.py"],
    };
    const names = /** @type {(keyof typeof places)[]} */ (Object.keys(places));
    for (const name of names) expect(pythonTests(name), name).toEqual(expect.arrayContaining(places[name]));
    const list = execFileSync("git", ["ls-files", "-co", "--exclude-standard", "test/**/test_*.py"], {
      cwd: root,
    });
    const present = String(list)
      .trim()
      .split("\n")
      .filter((name) => existsSync(join(root, name)));
    expect(names.flatMap(pythonTests).sort()).toEqual(present.sort());
  });
});
