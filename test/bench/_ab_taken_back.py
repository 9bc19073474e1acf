"""Guarded experiments whose candidate is slower, on a `vllm serve` under load, for `ab`: how many steps lie between the
verdict and the first that runs with control again on all ranks, and between that one and the last sample that the
verdict had seen.

python _ab_taken_back.py RUNS [RANKS]      prints JSON

The step at the verdict is that of the latest call that the shadow has a record of by then, whoever read it: one that
had begun and had no record yet counts against us.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from datetime import datetime
from pathlib import Path
from typing import Any

from opswap.adapters.common.demo_model import ensure_model
from switch import Load, Side

ROOT = Path(__file__).parents[2]
STREAMS = 4
OP = "silu_and_mul"
SPEC = """kind: Experiment
schema: 1
name: NAME
op: silu_and_mul
control: cpu
candidate: ref
sampling: {share: 100%, budget: 50%}
guard: {lease: 30s}
analysis: {interval: 500ms, timeout: 120s}
"""


def _opswap(*args: str) -> str:
    """What a verb prints; the exit status of `watch` tells the verdict, so it is no failure here."""
    command = ["node", str(ROOT / "dist/opswap.cjs"), *args]
    return subprocess.run(command, check=args[1] in ("apply", "start"), stdout=subprocess.PIPE, text=True).stdout


def _one(side: Side, ranks: int, folder: Path, name: str) -> dict[str, Any]:
    """One guarded run to its end."""
    file = folder / f"{name}.yaml"
    file.write_text(SPEC.replace("NAME", name))
    _opswap("ab", "apply", "-f", str(file), "--engine", side.name)
    _opswap("ab", "start", name, "--guarded", "--engine", side.name)
    _opswap("ab", "watch", name)
    told: dict[str, Any] = json.loads(_opswap("ab", "status", name, "--json"))
    back = told["taken_back"] or {}
    active = {rank["active"] for rank in side.ask("why", op=OP)["ranks"]}
    row = {"phase": told["phase"], "active": sorted(active), "samples": told["samples"]}
    if not back:
        return {**row, "steps": None}
    since = back["step"] - back["last_sampled_step"]
    return {**row, "steps": back["step"] - _step_at(side, ranks, back["decided"]), "since_last_sample": since}


def _step_at(side: Side, ranks: int, when: str) -> int:
    """Of the latest record of any rank that ended before this time; a shadow's records stay when it has ended."""
    until = 1e6 * datetime.fromisoformat(when.replace("Z", "+00:00")).timestamp()
    after, found = [0], []
    while records := side.ask("shadow_read", op=OP, after=after)["records"]:
        after = [max([0, *(r["sequence"] for r in records + found if r["rank"] == n)]) for n in range(ranks)]
        found += records
    return max(record["step"] for record in found if record["time_us"] <= until)


def measure(runs: int, folder: Path, ranks: int = 1) -> dict[str, Any]:
    model = ensure_model(Path.home() / ".cache/opswap/models/smollm2-135m-bfloat16", "bfloat16")
    side = Side("ours", ROOT, model, folder, ranks)
    try:
        side.wait()
        side.ask("use", changes=[{"op": OP, "impl": "cpu"}])
        with Load(side, STREAMS):
            rows = [_one(side, ranks, folder, f"slower-{number}") for number in range(runs)]
    finally:
        side.stop()
    wanted = {"phase": "failed", "active": ["cpu"]}
    failed = [row for row in rows if wanted.items() <= row.items() and row["steps"] is not None]
    steps = sorted(row["steps"] for row in failed)
    since = sorted(row["since_last_sample"] for row in failed)
    told = {"taken_back": len(failed), "of": runs, "steps": steps, "since_last_sample": since}
    return {**told, "ranks": ranks, "streams": STREAMS, "rows": rows}


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="ow", dir="/tmp") as folder:
        os.environ |= {"OPSWAP_RUNTIME_DIR": folder, "OPSWAP_STATE_DIR": f"{folder}/state"}
        print(json.dumps(measure(int(sys.argv[1]), Path(folder), *map(int, sys.argv[2:]))))


if __name__ == "__main__":
    main()
