"""`npm run bench -- ops_vs_torch`: every op against torch eager on the `bench` list of its op.json, both sides
interleaved in one process. A room's peer.py holds torch's side; rooms without one are left out, and said.

`--ops A,B` and `--dtypes bfloat16,float32` select, `--seconds N` is spent on each case, `--json FILE` keeps the result.
Times are the best of many short rounds of each side in turn; both sides run on torch's own OpenMP team. With
`--threads 1` they are CPU times, which stay comparable on a machine that is busy with something else.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import opswap
import opswap.torch_ops
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "native"))
from ops.rooms import Room, rooms

Call = Callable[[], Any]


def clock() -> float:
    return time.thread_time() if torch.get_num_threads() == 1 else time.perf_counter()


def best_times(pair: Any, seconds: float) -> tuple[float, float]:
    """Seconds per call of each side: rounds of about 10 ms in turn, so that a busy machine slows both alike."""
    sides = [pair.ours, pair.theirs]
    rounds = []
    for side in sides:
        side()
        once = timed(side, 1)
        rounds.append(max(1, min(2000, int(0.01 / max(once, 1e-7)))))
    best = [math.inf, math.inf]
    until, least = clock() + 2 * seconds, 3
    while least > 0 or clock() < until:
        least -= 1
        best = [min(b, timed(s, n)) for b, s, n in zip(best, sides, rounds, strict=True)]
    return best[0], best[1]


def timed(call: Call, times: int) -> float:
    start = clock()
    for _ in range(times):
        call()
    return (clock() - start) / times


def geomean(values: list[float]) -> float:
    return math.exp(sum(map(math.log, values)) / len(values)) if values else math.nan


def dims_text(case: dict[str, Any]) -> str:
    """`lens` as tokens x sequences, the rest as it stands."""
    parts = []
    for key, value in case.items():
        if key == "lens":
            counts = {str(tuple(v)): value.count(v) for v in value}
            parts.append("lens=" + "+".join(f"{n}x{v}" for v, n in counts.items()))
        elif key not in {"model", "none"}:
            parts.append(f"{key}={value}")
    return f"{case['model']} " + " ".join(parts)


def run_case(room: Room, dtype: str, case: dict[str, Any], seconds: float) -> dict[str, Any]:
    torch.manual_seed(0)
    op, pair = room.name, room.peer.cpu_pair(case, getattr(torch, dtype))
    pair.check()
    ours, theirs = best_times(pair, seconds)
    result = {"op": op, "dtype": dtype, **case, "opswap_us": ours * 1e6, "torch_us": theirs * 1e6}
    result["speedup"] = theirs / ours
    result["gbps"], result["gflops"] = pair.bytes / ours / 1e9, pair.flops / ours / 1e9
    print(
        f"{op:20} {dtype:8} {dims_text(case):70} {ours * 1e6:11.1f} us {theirs * 1e6:11.1f} us "
        f"x{theirs / ours:6.2f} {result['gbps']:7.1f} GB/s {result['gflops']:7.1f} GFLOP/s",
        file=sys.stderr,
        flush=True,
    )
    return result


def summary(cases: list[dict[str, Any]]) -> dict[str, Any]:
    per_op: dict[str, list[float]] = {}
    for case in cases:
        per_op.setdefault(case["op"], []).append(case["speedup"])
    table = {op: {"cases": len(v), "geomean": geomean(v), "worst": min(v)} for op, v in per_op.items()}
    for op, row in table.items():
        print(f"{op:20} geomean x{row['geomean']:.2f} worst x{row['worst']:.2f} of {row['cases']}", file=sys.stderr)
    overall = geomean([c["speedup"] for c in cases])
    print(f"{'all':20} geomean x{overall:.2f} worst x{min(c['speedup'] for c in cases):.2f}", file=sys.stderr)
    return {"ops": table, "geomean": overall, "worst": min(c["speedup"] for c in cases)}


def machine() -> dict[str, Any]:
    return {
        "cpu_isa": opswap.version()["cpu_isa"],
        "threads": torch.get_num_threads(),
        "clock": "thread CPU time" if torch.get_num_threads() == 1 else "wall",
        "torch": torch.__version__,
        "arch": platform.machine(),
        "load_average": os.getloadavg()[0],
    }


def chosen(names: str | None) -> list[Room]:
    """The rooms named, or all that have a pair; those without one are said."""
    every = {room.name: room for room in rooms()}
    asked = names.split(",") if names else list(every)
    if unknown := [name for name in asked if name not in every]:
        sys.exit(f"no op {', '.join(unknown)}; there are {', '.join(every)}")
    without = [name for name in asked if not hasattr(every[name].peer, "cpu_pair")]
    if without:
        print(f"left out, no cpu_pair in a peer.py of theirs: {', '.join(without)}", file=sys.stderr)
    if names and without == asked:
        sys.exit(2)
    return [every[name] for name in asked if name not in without]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ops", help="every op with a pair when none is named")
    parser.add_argument("--dtypes", default="bfloat16,float32")
    parser.add_argument("--seconds", type=float, default=0.3)
    parser.add_argument("--threads", type=int, default=0, help="0: every CPU this process may use")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    opswap.torch_ops.register()
    opswap.set_threads(args.threads)
    torch.set_num_threads(opswap.get_threads())
    cases = [
        run_case(room, dtype, case, args.seconds)
        for room in chosen(args.ops)
        for dtype in args.dtypes.split(",")
        if dtype in room.spec["types"]["scalar"]
        for case in room.spec["bench"]
    ]
    text = json.dumps({"machine": machine(), **summary(cases), "cases": cases}, indent=1)
    args.json.write_text(text + "\n") if args.json else print(text)


if __name__ == "__main__":
    with torch.inference_mode():
        main()
