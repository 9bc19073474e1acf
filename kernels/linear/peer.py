"""What linear is timed against: torch's own."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from common.peer import Baseline, Case, Pair, ops, size


def cpu_pair(case: Case, dtype: torch.dtype) -> Pair:
    x, w = torch.randn(case["M"], case["K"]).to(dtype), torch.randn(case["N"], case["K"]).to(dtype)
    out = torch.empty(case["M"], case["N"], dtype=dtype)
    return Pair(
        lambda: ops.linear.default(out, x, w, None),
        lambda: F.linear(x, w),
        out,
        size(x, w, out),
        2 * case["M"] * case["N"] * case["K"],
    )


GPU_BASELINES = [Baseline(lambda v: lambda: F.linear(v["input"], v["weight"], v["bias"]))]
