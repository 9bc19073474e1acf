"""Guarded experiments whose candidate is slower, on a `vllm serve` under load, for `ab`: how many steps lie between the
last sample that a failing look had seen and the commit that took the candidate back.

python _ab_taken_back.py RUNS      prints JSON
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from opswap.adapters.common.demo_model import ensure_model
from switch import Load, Side

ROOT = Path(__file__).parents[2]
STREAMS, NAME = 4, "slower"
SPEC = """kind: Experiment
schema: 1
name: slower
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
    return subprocess.run(command, check=args[:2] == ("ab", "start"), stdout=subprocess.PIPE, text=True).stdout


def _one(side: Side) -> dict[str, Any]:
    """One guarded run to its end."""
    _opswap("ab", "start", NAME, "--guarded", "--engine", side.name)
    _opswap("ab", "watch", NAME)
    told: dict[str, Any] = json.loads(_opswap("ab", "status", NAME, "--json"))
    back = told["taken_back"] or {}
    active = {rank["active"] for rank in side.ask("why", op="silu_and_mul")["ranks"]}
    steps = back["step"] - back["last_sampled_step"] if back else None
    return {"phase": told["phase"], "active": sorted(active), "steps": steps, "samples": told["samples"]}


def measure(runs: int, folder: Path) -> dict[str, Any]:
    model = ensure_model(Path.home() / ".cache/opswap/models/smollm2-135m-bfloat16", "bfloat16")
    (folder / "slower.yaml").write_text(SPEC)
    side = Side("ours", ROOT, model, folder, 1)
    try:
        side.wait()
        side.ask("use", changes=[{"op": "silu_and_mul", "impl": "cpu"}])
        _opswap("ab", "apply", "-f", str(folder / "slower.yaml"), "--engine", side.name)
        with Load(side, STREAMS):
            rows = [_one(side) for _ in range(runs)]
    finally:
        side.stop()
    wanted = {"phase": "failed", "active": ["cpu"]}
    failed = [row for row in rows if wanted.items() <= row.items() and row["steps"] is not None]
    steps = sorted(row["steps"] for row in failed)
    return {"taken_back": len(failed), "of": runs, "steps": steps, "streams": STREAMS, "rows": rows}


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="ow", dir="/tmp") as folder:
        os.environ |= {"OPSWAP_RUNTIME_DIR": folder, "OPSWAP_STATE_DIR": f"{folder}/state"}
        print(json.dumps(measure(int(sys.argv[1]), Path(folder))))


if __name__ == "__main__":
    main()
