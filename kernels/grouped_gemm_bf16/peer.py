"""What grouped_gemm_bf16 is timed against: torch's product of one group after the other, and its grouped one."""

from __future__ import annotations

import torch
from common.peer import Baseline, Case, Pair, ops, size
from common.peer_groups import each_group, first_rows, grouped


def cpu_pair(case: Case, dtype: torch.dtype) -> Pair:
    g, n, k = case["G"], case["N"], case["K"]
    x, w, first = torch.randn(case["R"], k).to(dtype), (torch.randn(g, n, k) / k**0.5).to(dtype), first_rows(case)
    out = torch.empty(case["R"], n, dtype=dtype)
    return Pair(
        lambda: ops.grouped_gemm_bf16.default(out, x, w, first, None, None, None),
        each_group(x, w, case),
        out,
        size(x, w, out),
        2 * case["R"] * n * k,
    )


GPU_BASELINES = [Baseline(lambda v: grouped(v["input"], v["weight"], v))]
