"""How long a switch takes while an engine serves: from the verb `use` to its answer, ours over another build's.

`npm run bench -- switch --base FOLDER [--rounds N] [--switches N] [--tp N] [--streams N]`. FOLDER is a built checkout
of an earlier opswap (`git worktree add FOLDER COMMIT`, then `npm run build` there). Each side is a `vllm serve` of
SmolLM2 with that checkout's package. Both stay up; they take turns, round after round, and only the one whose turn it
is has streams. A switch of ours isolates the cached KV before it answers; how long running requests then take to be
recomputed is shown apart. Prints JSON, times in ms.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from pathlib import Path
from typing import Any

import msgpack
import zmq
from opswap.adapters.common.demo_model import ensure_model

START_S, ANSWER_MS, SETTLE_S = 600, 120_000, 1.0
NEW_TOKENS = 200
PAUSE_S = (0.3, 0.6)
IMPLS = ("ref", "cpu")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Side:
    """A `vllm serve` with the package of `checkout`."""

    def __init__(self, name: str, checkout: Path, model: Path, runtime: Path, tp: int) -> None:
        self.name, self.port = name, free_port()
        self._log = (runtime / f"{name}.log").open("w")
        serve = [str(Path(sys.executable).with_name("vllm")), "serve", str(model), "--port", str(self.port)]
        small = ["--host", "127.0.0.1", "--max-model-len", "512", "--max-num-seqs", "8", "--enforce-eager"]
        cache = ["--kv-cache-memory-bytes", str(128 << 20), "--tensor-parallel-size", str(tp)]
        extension = ["--worker-extension-cls", "opswap.adapters.vllm.worker.WorkerExtension"]
        env = {
            **os.environ,
            "PYTHONPATH": str(checkout / "build/python"),
            "OPSWAP_RUNTIME_DIR": str(runtime),
            "OPSWAP_ENGINE_NAME": name,
            "VLLM_PLUGINS": "opswap",
            "VLLM_TARGET_DEVICE": "cpu",
            "HF_HUB_OFFLINE": "1",
            "VLLM_NO_USAGE_STATS": "1",
        }
        if tp > 1:  # vLLM gives each rank cores of its own, where there are enough
            cores = sorted(os.sched_getaffinity(0))
            env["VLLM_CPU_OMP_THREADS_BIND"] = "|".join(str(cores[rank % len(cores)]) for rank in range(tp))
        self._process = subprocess.Popen(
            [*serve, *small, *cache, *extension],
            env=env,
            stdout=self._log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        self._open(str(model), runtime)

    def _open(self, model: str, runtime: Path) -> None:
        self._model = model
        self._socket = zmq.Context.instance().socket(zmq.DEALER)
        self._socket.setsockopt(zmq.RCVTIMEO, ANSWER_MS)
        self._path = runtime / f"{self.name}.sock"
        self._requests = 0

    def wait(self) -> None:
        """Until it serves; raises when it does not."""
        until = time.monotonic() + START_S
        while time.monotonic() < until:
            if self._process.poll() is not None:
                raise SystemExit(f"{self.name} ended with {self._process.returncode}: {self._last_words()}")
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{self.port}/health", timeout=2).close()
            except OSError:
                time.sleep(0.5)
            else:
                self._socket.connect(f"ipc://{self._path}")
                protocol = json.loads(self._path.with_suffix(".json").read_text())["protocol"]
                self.ask("hello", protocol=protocol, client="bench")
                return
        raise SystemExit(f"{self.name} does not answer: {self._last_words()}")

    def _last_words(self) -> str:
        """The end of its log, which goes with the folder."""
        return Path(self._log.name).read_text(errors="replace")[-4000:]

    def ask(self, verb: str, **fields: Any) -> dict[str, Any]:
        self._requests += 1
        self._socket.send(msgpack.packb({"id": self._requests, "verb": verb, **fields}))
        reply = msgpack.unpackb(self._socket.recv())
        if not reply["ok"]:
            raise SystemExit(f"{self.name}: {verb} was refused: {reply['error']}")
        result: dict[str, Any] = reply["result"]
        return result

    def complete(self, number: int) -> None:
        """One request of a stream; its words differ from all others'."""
        body = {
            "model": self._model,
            "prompt": f"{number}: tell a long story about a river, a bridge and {number % 97} birds.",
            "max_tokens": NEW_TOKENS,
            "ignore_eos": True,
            "temperature": 0,
        }
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}/v1/completions",
            json.dumps(body).encode(),
            {"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=300) as answer:
            answer.read()

    def stop(self) -> None:
        """The whole process group: vLLM's engine and workers are its children."""
        os.killpg(self._process.pid, signal.SIGTERM)
        try:
            self._process.wait(60)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)
        self._log.close()


class Load:
    """Streams that never stop coming."""

    def __init__(self, side: Side, streams: int) -> None:
        self._side = side
        self._running = True
        self._threads = [threading.Thread(target=self._stream, args=(1000 * n,)) for n in range(1, streams + 1)]

    def _stream(self, number: int) -> None:
        while self._running:
            self._side.complete(number)
            number += 1

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        time.sleep(SETTLE_S)
        return self

    def __exit__(self, *_: object) -> None:
        self._running = False
        for thread in self._threads:
            thread.join()


def recomputed(side: Side) -> float | None:
    """Milliseconds in which running requests were computed anew after the last switch; None where that is not told."""
    until = time.monotonic() + 30
    while time.monotonic() < until:
        told = side.ask("status").get("isolation")
        if told is None:
            return None
        if told["recomputed_ms"] is not None:
            return float(told["recomputed_ms"])
        time.sleep(0.05)
    raise SystemExit(f"{side.name}: requests are still recomputed after 30 s")


def measure(side: Side, switches: int, streams: int) -> list[dict[str, float]]:
    """Times of switches to and fro, and the steps that one took."""
    rows = []
    with Load(side, streams):
        for number in range(switches):
            impl = IMPLS[number % 2]
            began, start = side.ask("status")["ranks"][0]["step"], time.perf_counter()
            answer = side.ask("use", changes=[{"op": "rms_norm", "impl": impl}, {"op": "silu_and_mul", "impl": impl}])
            row = {"ms": 1e3 * (time.perf_counter() - start)}
            row["steps"] = side.ask("status")["ranks"][0]["step"] - began
            row["to_commit"] = answer["step"] - began
            if (after := recomputed(side)) is not None:
                row["recomputed_ms"] = after
            rows.append(row)
            # A switch of its own, at any moment of a step.
            time.sleep(random.uniform(*PAUSE_S))
    return rows


def percentile(values: list[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def summary(rows: list[dict[str, float]]) -> dict[str, float]:
    told = {"p50": percentile([r["ms"] for r in rows], 0.5), "p99": percentile([r["ms"] for r in rows], 0.99)}
    told["steps_mean"] = statistics.fmean(r["steps"] for r in rows)
    again = [r["recomputed_ms"] for r in rows if "recomputed_ms" in r]
    if again:
        told |= {"recomputed_p50": percentile(again, 0.5), "recomputed_p99": percentile(again, 0.99)}
    return {name: round(value, 2) for name, value in told.items()}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--base", type=Path, required=True, help="a built checkout to compare with")
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--switches", type=int, default=25, help="per side and round")
    parser.add_argument("--streams", type=int, default=8)
    parser.add_argument("--tp", type=int, default=1)
    asked = parser.parse_args()
    model = ensure_model(Path.home() / ".cache/opswap/models/smollm2-135m-bfloat16", "bfloat16")
    root = Path(__file__).parents[2]
    with tempfile.TemporaryDirectory(prefix="ow", dir="/tmp") as folder:
        sides = [Side(n, c, model, Path(folder), asked.tp) for n, c in (("ours", root), ("base", asked.base.resolve()))]
        try:
            for side in sides:
                side.wait()
            rows: dict[str, list[dict[str, float]]] = {side.name: [] for side in sides}
            for _ in range(asked.rounds):
                for side in sides:
                    rows[side.name] += measure(side, asked.switches, asked.streams)
        finally:
            for side in sides:
                side.stop()
    told = {name: summary(found) for name, found in rows.items()}
    ratios = {key: round(told["ours"][key] / told["base"][key], 3) for key in ("p50", "p99")}
    report = {"load_average": os.getloadavg()[0], "tp": asked.tp, "switches": len(rows["ours"])}
    print(json.dumps({**report, "reach": {"p50": 0.4, "p99": 0.4}, "goal": 0.2, "over_base": ratios, **told}, indent=1))


if __name__ == "__main__":
    main()
