"""Grouped products on the CPU beside torch's loop over groups, from memory, in turn in one process.

`npm run bench -- grouped_gemm [--rounds N] [--groups N] [--scale N] [--threads N]`. The shapes are DeepSeek-V3's and
Qwen3's, both sides of the weights divided by --scale, with the same rows in each group. Torch's loop has BF16 weights,
those of FP8 dequantised once outside it, and is also run in float32, which a CPU without BF16 arithmetic is quicker in.
Prints JSON: medians in milliseconds, and torch's better side over opswap's.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from collections.abc import Callable

import opswap
import opswap.torch_ops
import torch

SHAPES = ((6144, 7168), (7168, 3072), (4096, 4096), (4096, 2048))  # [N, K]
ROWS = (1, 2, 4, 8, 96)
#: Read before each run, so that none finds weights in a cache that the one before has read.
OTHERS = 256 << 20
Sides = dict[str, Callable[[], object]]


def quantised(weight: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Codes and scales of all groups, whose rows are whole blocks of 128."""
    groups, n, k = weight.shape
    codes = torch.empty(groups * n, k, dtype=torch.float8_e4m3fn)
    scale = torch.empty(groups * n // 128, -(-k // 128))
    torch.ops.opswap.quantize_fp8(codes, scale, weight.view(groups * n, k), 128, 128, False, False, 1e-12)
    return codes.view(groups, n, k), scale.view(groups, n // 128, -1)


def dequantised(codes: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    wide = scale.repeat_interleave(128, 1).repeat_interleave(128, 2)[..., : codes.shape[2]]
    return (codes.float() * wide).bfloat16()


def torch_loop(x: torch.Tensor, weight: torch.Tensor, rows: int) -> Callable[[], object]:
    out = torch.empty(len(x), weight.shape[1], dtype=x.dtype)

    def run() -> None:
        for group, of in enumerate(weight):
            span = slice(group * rows, (group + 1) * rows)
            torch.mm(x[span], of.t(), out=out[span])

    return run


def sides(
    weight: torch.Tensor, fp8: tuple[torch.Tensor, torch.Tensor], wide: torch.Tensor, rows: int
) -> dict[str, Sides]:
    groups, n, k = weight.shape
    x = torch.randn(groups * rows, k).bfloat16()
    first = torch.arange(groups + 1, dtype=torch.int32) * rows
    out = torch.empty(len(x), n, dtype=torch.bfloat16)
    ops = torch.ops.opswap
    restored = dequantised(*fp8)
    in_float = torch_loop(x.float(), wide, rows)
    return {
        "bf16": {
            "opswap": lambda: ops.grouped_gemm_bf16(out, x, weight, first, None, None, None, False),
            "opswap_invariant": lambda: ops.grouped_gemm_bf16(out, x, weight, first, None, None, None, True),
            "torch_bf16": torch_loop(x, weight, rows),
            "torch_float32": in_float,
        },
        "fp8_block128": {
            "opswap": lambda: ops.grouped_gemm_fp8_block128(out, x, None, *fp8, first, None, None, None, False, False),
            "opswap_invariant": lambda: ops.grouped_gemm_fp8_block128(
                out, x, None, *fp8, first, None, None, None, False, True
            ),
            "torch_bf16": torch_loop(x, restored, rows),
            "torch_float32": in_float,
        },
    }


def measure(runs: Sides, rounds: int, others: torch.Tensor) -> dict:
    samples: dict[str, list[float]] = {name: [] for name in runs}
    for run in runs.values():
        run()
    for _ in range(rounds):
        for name, run in runs.items():
            others.sum()
            start = time.perf_counter()
            run()
            samples[name].append((time.perf_counter() - start) * 1e3)
    median = {name: round(statistics.median(values), 2) for name, values in samples.items()}
    best = {name: round(min(values), 2) for name, values in samples.items()}
    theirs = min(median["torch_bf16"], median["torch_float32"])
    return {
        "median_ms": median,
        "best_ms": best,
        "over_torch": round(theirs / median["opswap"], 2),
        "over_torch_bf16": round(median["torch_bf16"] / median["opswap"], 2),
        "invariant_costs": round(median["opswap_invariant"] / median["opswap"], 2),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--groups", type=int, default=4)
    parser.add_argument("--scale", type=int, default=2)
    parser.add_argument("--threads", type=int, default=0, help="of both sides; 0: every CPU this process may use")
    options = parser.parse_args()
    opswap.torch_ops.register()
    opswap.set_threads(options.threads)
    torch.set_num_threads(opswap.get_threads())
    report = {"benchmark": "grouped_gemm", "cpu_isa": opswap.version()["cpu_isa"], "threads": opswap.get_threads()}
    others = torch.zeros(OTHERS // 8, dtype=torch.int64)
    for n, k in SHAPES:
        shape = (options.groups, n // options.scale, k // options.scale)
        weight = torch.randn(shape).bfloat16()
        fp8, wide = quantised(weight), weight.float()
        for rows in ROWS:
            for kind, runs in sides(weight, fp8, wide, rows).items():
                report[f"{kind} {shape} rows {rows}"] = measure(runs, max(1, options.rounds), others)
    print(json.dumps({**report, "load": os.getloadavg()[0]}, indent=2))


if __name__ == "__main__":
    with torch.inference_mode():
        main()
