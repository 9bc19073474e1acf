"""All projections of one SmolLM2 decode step, weights from memory: opswap.linear, torch, and the sum of as many bytes.

`npm run bench -- projections [--rounds N]`. bf16, 1 and 8 rows; the three take turns. The sum is the floor of reading.
Weights together are 269 MB, so no cache holds them, unlike in `ops_vs_torch`. Prints JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from collections.abc import Callable

import opswap.torch_ops
import torch

LAYERS, HEAD = 30, (49152, 576)
SHAPES = ((960, 576), (576, 576), (3072, 576), (576, 1536))  # QKV, output, gate and up, down: [N, K]


def weights() -> list[torch.Tensor]:
    """One tensor a projection, in the order of a step."""
    return [torch.randn(shape, dtype=torch.bfloat16) for shape in (*SHAPES * LAYERS, HEAD)]


def sides(all_weights: list[torch.Tensor], rows: int) -> dict[str, Callable[[], object]]:
    inputs = {k: torch.randn(rows, k, dtype=torch.bfloat16) for _, k in (*SHAPES, HEAD)}
    outputs = {n: torch.empty(rows, n, dtype=torch.bfloat16) for n, _ in (*SHAPES, HEAD)}
    bytes_of_all = torch.cat([w.view(-1) for w in all_weights]).view(torch.int64)

    def ours() -> None:
        for w in all_weights:
            torch.ops.opswap.linear(outputs[w.shape[0]], inputs[w.shape[1]], w, None)

    def theirs() -> None:
        for w in all_weights:
            torch.nn.functional.linear(inputs[w.shape[1]], w)

    return {"opswap": ours, "torch": theirs, "read_floor": bytes_of_all.sum}


def measure(all_weights: list[torch.Tensor], rows: int, rounds: int) -> dict:
    """Milliseconds of a step for each side, and ratios of medians."""
    runs = sides(all_weights, rows)
    samples: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(rounds):
        for name, run in runs.items():
            start = time.perf_counter()
            run()
            samples[name].append((time.perf_counter() - start) * 1e3)
    median = {name: round(statistics.median(values), 2) for name, values in samples.items()}
    best = {name: round(min(values), 2) for name, values in samples.items()}
    return {
        "median_ms": median,
        "best_ms": best,
        "torch_over_opswap": round(median["torch"] / median["opswap"], 2),
        "share_of_floor": round(median["read_floor"] / median["opswap"], 2),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=15)
    options = parser.parse_args()
    opswap.torch_ops.register()
    all_weights = weights()
    report = {
        "benchmark": "projections",
        "megabytes": round(sum(w.numel() for w in all_weights) * 2 / 1e6),
        "cpus": len(os.sched_getaffinity(0)),
        "load": os.getloadavg()[0],
        **{f"rows_{rows}": measure(all_weights, rows, max(1, options.rounds)) for rows in (1, 8)},
    }
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
