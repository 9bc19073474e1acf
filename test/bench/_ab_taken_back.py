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
STREAMS = 4
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


def _one(side: Side, folder: Path, name: str) -> dict[str, Any]:
    """One guarded run to its end."""
    file = folder / f"{name}.yaml"
    file.write_text(SPEC.replace("NAME", name))
    _opswap("ab", "apply", "-f", str(file), "--engine", side.name)
    _opswap("ab", "start", name, "--guarded", "--engine", side.name)
    _opswap("ab", "watch", name)
    told: dict[str, Any] = json.loads(_opswap("ab", "status", name, "--json"))
    back = told["taken_back"] or {}
    active = {rank["active"] for rank in side.ask("why", op="silu_and_mul")["ranks"]}
    steps = back["step"] - back["last_sampled_step"] if back else None
    return {"phase": told["phase"], "active": sorted(active), "steps": steps, "samples": told["samples"]}


def measure(runs: int, folder: Path) -> dict[str, Any]:
    model = ensure_model(Path.home() / ".cache/opswap/models/smollm2-135m-bfloat16", "bfloat16")
    side = Side("ours", ROOT, model, folder, 1)
    try:
        side.wait()
        side.ask("use", changes=[{"op": "silu_and_mul", "impl": "cpu"}])
        with Load(side, STREAMS):
            rows = [_one(side, folder, f"slower-{number}") for number in range(runs)]
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
