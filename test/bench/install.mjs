// What a wheel takes: from the file to a doctor that says all is active, beside an engine that is installed already; the
// import and the first call over an empty interpreter, in turns; sizes and what is beyond the allow-list. Prints JSON.
// `--rounds N` (default 25). Needs `npm run package`, which it runs.
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { availableParallelism, cpus, loadavg, tmpdir } from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";

const { values } = parseArgs({ options: { rounds: { type: "string", default: "25" } } });
const root = fileURLToPath(new URL("../..", import.meta.url));
const packages = path.join(root, "build/packages");
execFileSync("npm", ["run", "--silent", "package"], { cwd: root, stdio: ["ignore", "ignore", "inherit"] });
const sizes = JSON.parse(readFileSync(path.join(packages, "sizes.json"), "utf8"));
const { engine } = JSON.parse(readFileSync(path.join(root, "build/environments.json"), "utf8"));

const CALL = `import ctypes, opswap
x, out = ((ctypes.c_float * 64)(1) for _ in range(2))
tensor = lambda memory: opswap.Tensor(ctypes.addressof(memory), "float32", [1, 64], [64, 1])
opswap.call("silu", tensor(out), tensor(x))`;
const PROGRAMS = { empty: "pass", import: "import opswap", call: CALL };

/** @param {string} program @param {string[]} args @param {NodeJS.ProcessEnv} [env] @returns {number} milliseconds */
function timed(program, args, env = {}) {
  const { PYTHONPATH: _, ...own } = process.env;
  const start = performance.now();
  execFileSync(program, args, { env: { ...own, ...env }, stdio: ["ignore", "ignore", "pipe"] });
  return performance.now() - start;
}

/** @param {number[]} samples */
function median(samples) {
  return Number((samples.toSorted((a, b) => a - b)[samples.length >> 1] ?? 0).toFixed(1));
}

const place = mkdtempSync(path.join(tmpdir(), "opswap-install-"));
const environment = path.join(place, "env");
const python = path.join(environment, "bin/python");
/** @type {NodeJS.ProcessEnv} */
const CPU_BLOCK = { VLLM_PLUGINS: "opswap", VLLM_TARGET_DEVICE: "cpu" };

function installed() {
  execFileSync("cp", ["-al", engine, environment]);
  const tag = execFileSync(
    python,
    ["-c", "import sys; print(f'cp{sys.version_info[0]}{sys.version_info[1]}')"],
    { encoding: "utf8" },
  ).trim();
  const wheel = Object.keys(sizes.wheels).find((name) => name.includes(tag)) ?? "";
  const pip = [
    "-m",
    "pip",
    `--python=${python}`,
    "install",
    "--quiet",
    "--no-deps",
    path.join(packages, wheel),
  ];
  return {
    pip: timed(process.env.OPSWAP_PYTHON ?? "python3", pip),
    doctor: timed(python, ["-m", "opswap.adapters.vllm.doctor"], CPU_BLOCK),
  };
}

try {
  const load = { before: loadavg()[0] };
  const { pip, doctor } = installed();
  const round = () =>
    Object.fromEntries(Object.entries(PROGRAMS).map(([name, code]) => [name, timed(python, ["-c", code])]));
  round();
  const rounds = Array.from({ length: Number(values.rounds) }, round);
  /** @param {string} name */
  const over = (name) => median(rounds.map((one) => (one[name] ?? 0) - (one.empty ?? 0)));
  const report = {
    cpu: cpus()[0]?.model,
    cpus: availableParallelism(),
    load_average: { ...load, after: loadavg()[0] },
    rounds: rounds.length,
    wheel_to_doctor: {
      unit: "s",
      reach: 60,
      goal: 30,
      value: Math.round((pip + doctor) / 100) / 10,
      pip,
      doctor,
    },
    import: { unit: "ms over an empty interpreter", median: over("import") },
    import_and_first_call: {
      unit: "ms over an empty interpreter",
      reach: 80,
      goal: 40,
      median: over("call"),
    },
    wheel_bytes: { reach: 25e6, goal: 12e6, of: sizes.wheels },
    library: sizes.library,
  };
  console.log(JSON.stringify(report, null, 2));
} finally {
  rmSync(place, { recursive: true, force: true });
}
