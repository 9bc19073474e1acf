"""`npm run bench -- sglang`: the figures of SGLang's adapter, row by row, as JSON with the machine's load.

`--row NAME` runs one row, and may be given several times; without it all are named and none runs. `--count N` makes the
switches or rounds of a row more or fewer. vLLM's Python runs this; OPSWAP_SGLANG_PYTHON is SGLang's. Where two sides
are compared both stay up and take turns, and whose turn it is not is stopped.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "adapters/common"))

from checker import mixed_steps
from opswap.adapters.common.demo_model import ensure_model
from switch import Load, Side, free_port, measure, percentile
from tiny import make_llama

BENCH = Path(__file__).parent
ROOT = BENCH.parents[1]
#: Its scripts are run with -P: this file would hide SGLang from those beside it.
PYTHON = os.environ["OPSWAP_SGLANG_PYTHON"]
RIG = ROOT / "test/adapters/sglang/rig"
LOUD = ROOT / "test/adapters/sglang/loud"
#: What helps a stock SGLang on a CPU, and opswap.
PLUGINS = "opswap_cpu_rig,opswap"
Row = Callable[[int], dict[str, Any]]


def model_of(dtype: str) -> Path:
    return ensure_model(Path.home() / f".cache/opswap/models/smollm2-135m-{dtype}", dtype)


def environment(plugins: str, **more: str) -> dict[str, str]:
    """Of a process of SGLang's; the folders of all plugins are on its path, whichever are named."""
    path = os.pathsep.join(str(folder) for folder in (ROOT / "build/python", RIG, LOUD))
    quiet = {"HF_HUB_OFFLINE": "1", "PYTHONDONTWRITEBYTECODE": ""}
    return {**os.environ, **quiet, "PYTHONPATH": path, "SGLANG_PLUGINS": plugins, **more}


class Stoppable:
    """A process group that is stopped while it is not its turn, so that no idle thread of it spins."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process

    def __enter__(self) -> None:
        os.killpg(self.process.pid, signal.SIGCONT)

    def __exit__(self, *_: object) -> None:
        os.killpg(self.process.pid, signal.SIGSTOP)


class EngineSide:
    """An Engine that measures itself: with opswap, or without any of it."""

    def __init__(self, name: str, model: Path, plugins: str, options: dict[str, Any]) -> None:
        self.name = name
        command = [PYTHON, "-P", str(BENCH / "_sglang_side.py"), str(model), json.dumps(options)]
        self._process = subprocess.Popen(
            command,
            env=environment(plugins),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self._turn = Stoppable(self._process)
        self._answer()
        self._turn.__exit__()

    def measure(self, batch: int, prompt: int, new: int) -> dict[str, float]:
        assert self._process.stdin is not None
        with self._turn:
            self._process.stdin.write(json.dumps({"batch": batch, "prompt": prompt, "new": new}) + "\n")
            self._process.stdin.flush()
            return self._answer()

    def stop(self) -> None:
        self._turn.__enter__()
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def _answer(self) -> dict[str, float]:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.startswith("{"):
                return dict(json.loads(line))
        raise SystemExit(f"{self.name} ended before it answered; its errors are above")


def decode(rounds: int) -> dict[str, Any]:
    """ms per step and of the prompt: opswap, and torch_native with SGLang's own layers."""
    model = model_of("bfloat16")
    sides: list[EngineSide] = []
    try:
        sides.append(EngineSide("opswap", model, PLUGINS, {"attention_backend": "opswap"}))
        sides.append(EngineSide("sglang", model, "opswap_cpu_rig", {"attention_backend": "torch_native"}))
        told: dict[str, Any] = {"reach": {"decode": [3, 3.5], "prefill": 1.3}}
        for batch in (1, 8):
            seen: dict[str, list[dict[str, float]]] = {side.name: [] for side in sides}
            for _ in range(rounds):
                for side in sides:
                    seen[side.name].append(side.measure(batch, 128, 65))
                    print(f"  {side.name}, batch {batch}: {seen[side.name][-1]}", file=sys.stderr, flush=True)
            middle = {
                name: {key: round(statistics.median(row[key] for row in rows), 2) for key in rows[0]}
                for name, rows in seen.items()
            }
            ratios = {key: round(middle["sglang"][key] / middle["opswap"][key], 2) for key in middle["opswap"]}
            told[f"batch_{batch}"] = {**middle, "times": ratios}
        return told
    finally:
        for side in sides:
            side.stop()


class SglangSide(Side):
    """A server of SGLang's in place of `vllm serve`."""

    def __init__(self, name: str, model: Path, runtime: Path, plugins: str = PLUGINS, *words: str, **env: str) -> None:
        self.name, self.port = name, free_port()
        self._log = (runtime / f"{name}.log").open("w")
        served = [PYTHON, "-m", "sglang.launch_server", "--model-path", str(model), "--port", str(self.port)]
        cpu = ["--attention-backend", "opswap", "--device", "cpu", "--disable-cuda-graph", "--sleep-on-idle"]
        small = ["--mem-fraction-static", "0.5", "--max-total-tokens", "8192", "--context-length", "512"]
        quiet = ["--max-running-requests", "8", "--skip-server-warmup", "--log-level", "warning"]
        self._process = subprocess.Popen(
            [*served, *cpu, *small, *quiet, *words],
            env=environment(plugins, OPSWAP_RUNTIME_DIR=str(runtime), OPSWAP_ENGINE_NAME=name, **env),
            stdout=self._log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        self._open(str(model), runtime)


class TwoRanks(SglangSide):
    """At TP=2, with a model so small that it has no words; the ranks write what each step ran when they report."""

    def __init__(self, model: Path, runtime: Path) -> None:
        words = ["--tp-size", "2", "--skip-tokenizer-init"]
        env = {"OPSWAP_LOUD_STEPS": str(runtime), "SGLANG_CPU_OMP_THREADS_BIND": cores(2)}
        super().__init__("two-ranks", model, runtime, f"{PLUGINS},opswap_loud", *words, **env)

    def complete(self, number: int) -> None:
        greedy = {"temperature": 0, "max_new_tokens": 40, "ignore_eos": True}
        body = json.dumps({"input_ids": [1, 5, 9, 33, number % 250], "sampling_params": greedy}).encode()
        url = f"http://127.0.0.1:{self.port}/generate"
        request = urllib.request.Request(url, body, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=300) as answer:
            answer.read()


def cores(ranks: int) -> str:
    """A core for each rank."""
    found = sorted(os.sched_getaffinity(0))
    return "|".join(str(found[rank % len(found)]) for rank in range(ranks))


def switches(count: int) -> dict[str, Any]:
    """A switch's time under 4 streams at TP=1, and that of vLLM on the same model, in turns."""
    model = model_of("bfloat16")
    with tempfile.TemporaryDirectory(prefix="ow", dir="/tmp") as folder:
        runtime = Path(folder)
        sides: list[Side] = [Side("vllm", ROOT, model, runtime, 1), SglangSide("sglang", model, runtime)]
        try:
            for side in sides:
                side.wait()
            turns = {side.name: Stoppable(side._process) for side in sides}
            for turn in turns.values():
                turn.__exit__()
            rows: dict[str, list[dict[str, float]]] = {side.name: [] for side in sides}
            for _ in range(4):
                for side in sides:
                    with turns[side.name]:
                        rows[side.name] += measure(side, count, 4)
            for turn in turns.values():
                turn.__enter__()
        finally:
            for side in sides:
                side.stop()
    ms = {name: [row["ms"] for row in found] for name, found in rows.items()}
    p50 = {name: round(percentile(values, 0.5), 2) for name, values in ms.items()}
    told = {name: round(percentile(values, 0.99), 2) for name, values in ms.items()}
    again = {name: [row["recomputed_ms"] for row in found if "recomputed_ms" in row] for name, found in rows.items()}
    recomputed = {name: round(percentile(values, 0.5), 2) for name, values in again.items() if values}
    over = round(p50["sglang"] / p50["vllm"], 2)
    return {
        "over_vllm": over,
        "reach": 1.0,
        "p50": p50,
        "p99": told,
        "recomputed_p50": recomputed,
        "switches": 4 * count,
    }


def ranks(count: int) -> dict[str, Any]:
    """An Engine at TP=2: steps that mix epochs, planted refusals."""
    with tempfile.TemporaryDirectory(prefix="ow", dir="/tmp") as folder:
        command = [PYTHON, "-P", str(BENCH / "_sglang_ranks.py"), str(make_llama(Path(folder))), str(count), "20"]
        found = subprocess.check_output(command, env=environment(""), text=True)
    return dict(json.loads(found.strip().splitlines()[-1]))


def server_ranks(count: int) -> dict[str, Any]:
    """A server at TP=2, switched by its agent's socket."""
    with tempfile.TemporaryDirectory(prefix="ow", dir="/tmp") as folder:
        runtime = Path(folder)
        side = TwoRanks(make_llama(runtime / "model"), runtime)
        try:
            side.wait()
            ms: list[float] = []
            with Load(side, 3):
                for number in range(count):
                    began = time.perf_counter()
                    side.ask("use", changes=[{"op": "silu_and_mul", "impl": ("loud", "cpu")[number % 2]}])
                    ms.append(1e3 * (time.perf_counter() - began))
            side.ask("doctor")
            traces = [json.loads(file.read_text()) for file in runtime.glob("steps-*.json")]
        finally:
            side.stop()
    mixed = mixed_steps(traces)
    epochs = len({call["epoch"] for call in traces[0]})
    told = {"switches": count, "epochs_that_ran": epochs, "ms_p50": round(percentile(ms, 0.5), 1)}
    return {"mixed": len(mixed), "examples": mixed[:3], "reach": 0, **told}


def startup(rounds: int) -> dict[str, Any]:
    """Seconds that loading the plugins takes in a scheduler's process, with opswap and with it filtered out."""
    code = (
        "import sglang.srt.managers.scheduler, time; from sglang.srt.plugins import load_plugins; "
        "began = time.perf_counter(); load_plugins(); print('SECONDS', time.perf_counter() - began)"
    )
    seen: dict[str, list[float]] = {PLUGINS: [], "opswap_cpu_rig": []}
    for _ in range(rounds):
        for plugins, values in seen.items():
            told = subprocess.check_output([PYTHON, "-c", code], env=environment(plugins), text=True)
            values.append(float(told.split("SECONDS")[1]))
    middle = [round(statistics.median(values), 3) for values in seen.values()]
    return {
        "added_s": round(middle[0] - middle[1], 3),
        "reach": 0.5,
        "goal": 0.2,
        "with": middle[0],
        "without": middle[1],
    }


#: Of each row: how often, and how.
ROWS: dict[str, tuple[int, Row]] = {
    "ranks": (500, ranks),
    "server_ranks": (500, server_ranks),
    "switch": (25, switches),
    "startup": (3, startup),
    "decode": (5, decode),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--row", action="append", choices=sorted(ROWS), default=[])
    parser.add_argument("--count", type=int)
    asked = parser.parse_args()
    told: dict[str, Any] = {}
    for name, (usual, row) in ROWS.items():
        if name in asked.row:
            before = os.getloadavg()[0]
            found = row(usual if asked.count is None else asked.count)
            told[name] = {**found, "load": [before, os.getloadavg()[0]]}
        elif not asked.row:
            told[name] = {"not_run": f"npm run bench -- sglang --row {name}"}
    print(json.dumps(told, indent=1))


if __name__ == "__main__":
    main()
