"""All projections of one SmolLM2 decode step in block FP8, weights from memory, beside bf16 and the floor.

`npm run bench -- fp8_projections [--rounds N]`. bf16 input, 1, 8 and 64 rows; the sides take turns. The floor is the
sum of as many bytes as the FP8 weights have: 134 MB, so no cache holds them. Prints JSON.
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
Weights = list[tuple[torch.Tensor, torch.Tensor]]


def quantised(weight: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    rows, columns = weight.shape
    codes = torch.empty(rows, columns, dtype=torch.float8_e4m3fn)
    scale = torch.empty(-(-rows // 128), -(-columns // 128))
    torch.ops.opswap.quantize_fp8(codes, scale, weight, 128, 128, False, False, 1e-12)
    return codes, scale


def sides(plain: list[torch.Tensor], fp8: Weights, rows: int) -> dict[str, Callable[[], object]]:
    inputs = {k: torch.randn(rows, k, dtype=torch.bfloat16) for _, k in (*SHAPES, HEAD)}
    outputs = {n: torch.empty(rows, n, dtype=torch.bfloat16) for n, _ in (*SHAPES, HEAD)}
    bytes_of_all = torch.cat([codes.view(torch.uint8).view(-1) for codes, _ in fp8]).view(torch.int64)

    def ours() -> None:
        for codes, scale in fp8:
            n, k = codes.shape
            torch.ops.opswap.gemm_fp8_block128(outputs[n], inputs[k], None, codes, scale, None)

    def ours_bf16() -> None:
        for w in plain:
            torch.ops.opswap.linear(outputs[w.shape[0]], inputs[w.shape[1]], w, None)

    def torch_bf16() -> None:
        for w in plain:
            torch.nn.functional.linear(inputs[w.shape[1]], w)

    return {"opswap": ours, "opswap_bf16": ours_bf16, "torch_bf16": torch_bf16, "read_floor": bytes_of_all.sum}


def measure(plain: list[torch.Tensor], fp8: Weights, rows: int, rounds: int) -> dict:
    """Milliseconds of a step for each side, and ratios of medians."""
    runs = sides(plain, fp8, rows)
    samples: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(rounds):
        for name, run in runs.items():
            start = time.perf_counter()
            run()
            samples[name].append((time.perf_counter() - start) * 1e3)
    median = {name: round(statistics.median(values), 2) for name, values in samples.items()}
    flops = 2 * rows * sum(w.numel() for w in plain)
    return {
        "median_ms": median,
        "best_ms": {name: round(min(values), 2) for name, values in samples.items()},
        "share_of_floor": round(median["read_floor"] / median["opswap"], 2),
        "over_opswap_bf16": round(median["opswap_bf16"] / median["opswap"], 2),
        "over_torch_bf16": round(median["torch_bf16"] / median["opswap"], 2),
        "gflops": round(flops / median["opswap"] / 1e6),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=15)
    options = parser.parse_args()
    opswap.torch_ops.register()
    plain = [torch.randn(shape, dtype=torch.bfloat16) for shape in (*SHAPES * LAYERS, HEAD)]
    fp8 = [quantised(w) for w in plain]
    report = {
        "benchmark": "fp8_projections",
        "megabytes": round(sum(codes.numel() for codes, _ in fp8) / 1e6),
        "cpus": len(os.sched_getaffinity(0)),
        "load": os.getloadavg()[0],
        **{f"rows_{rows}": measure(plain, fp8, rows, max(1, options.rounds)) for rows in (1, 8, 64)},
    }
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
