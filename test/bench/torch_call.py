"""`npm run bench -- torch_call`: what torch.ops.opswap adds to a kernel, with torch.add(out=) in the same run."""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable

import torch
from opswap import _opswap, torch_ops

ROUNDS, CALLS = 15, 20_000


def microseconds(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    for _ in range(CALLS):
        call()
    return (time.perf_counter() - start) / CALLS * 1e6


def kernel_microseconds() -> float:
    """The library's own mean for the kernel, checks excluded."""
    stats = json.loads(_opswap.stats())
    norm = next(o for o in stats["ops"] if o["op"] == "rms_norm")
    return next(i["mean_ns"] for i in norm["impls"] if i["name"] == norm["active"]) / 1e3


def main() -> None:
    torch_ops.register()
    x, w, out = torch.randn(1, 64), torch.randn(64), torch.empty(1, 64)
    op = torch.ops.opswap.rms_norm.default
    calls = {"opswap": lambda: op(out, x, w, 1e-6), "torch_add_out": lambda: torch.add(x, x, out=out)}
    rounds = [{name: microseconds(call) for name, call in calls.items()} for _ in range(ROUNDS)]
    median = {name: statistics.median(r[name] for r in rounds) for name in calls}
    overhead = median["opswap"] - kernel_microseconds()
    ratio = statistics.median(r["opswap"] / r["torch_add_out"] for r in rounds)
    print(
        json.dumps(
            {
                "bench": "torch_call",
                "overhead_us": round(overhead, 3),
                "call_us": {k: round(v, 3) for k, v in median.items()},
                "ratio_to_torch_add_out": round(ratio, 3),
                "reach_us": 3.0,
                "goal_us": 1.5,
            }
        )
    )


if __name__ == "__main__":
    main()
