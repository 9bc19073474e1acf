"""What grouped_gemm_fp8_block128 is timed against: torch's products of 16 bits, for which weights and codes of the
input are restored before; torch has no grouped product with scales of 128 x 128."""

from __future__ import annotations

import torch
from common.peer import UNIT, Baseline, Case, Pair, ops, quantised, size
from common.peer_groups import BLOCK, each_group, first_rows, grouped, in_16_bits, spread


def cpu_pair(case: Case, dtype: torch.dtype) -> Pair:
    g, n, k = case["G"], case["N"], case["K"]
    x, codes = torch.randn(case["R"], k).to(dtype), quantised(g, n, k)
    scale = UNIT * torch.rand(g, -(-n // BLOCK), -(-k // BLOCK)) / k**0.5
    out, first = torch.empty(case["R"], n, dtype=dtype), first_rows(case)
    restored = (codes.float() * spread(scale, codes.shape)).to(dtype)
    return Pair(
        lambda: ops.grouped_gemm_fp8_block128.default(out, x, None, codes, scale, first, None, None, None),
        each_group(x, restored, case),
        out,
        size(x, codes, scale, out),
        2 * case["R"] * n * k,
    )


GPU_BASELINES = [Baseline(lambda v: grouped(*in_16_bits(v), v))]
