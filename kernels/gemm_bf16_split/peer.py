"""What gemm_bf16_split is timed against: torch's product in float32, of weights that are put together before."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from common.peer import Baseline, Case, Pair, Run, Values, ops, size

LO_SCALE = 1 / 256


def cpu_pair(case: Case, dtype: torch.dtype) -> Pair:
    m, n, k = case["M"], case["N"], case["K"]
    x, w = torch.randn(m, k).bfloat16(), torch.randn(n, k) / k**0.5
    hi = w.bfloat16()
    lo = ((w - hi.float()) / LO_SCALE).bfloat16()
    whole, wide = hi.float() + LO_SCALE * lo.float(), x.float()
    out = torch.empty(m, n, dtype=dtype)
    return Pair(
        lambda: ops.gemm_bf16_split.default(out, x, hi, lo, None),
        lambda: F.linear(wide, whole).to(dtype),
        out,
        size(x, hi, lo, out),
        4 * m * n * k,
    )


def in_float32(v: Values) -> Run:
    weight = v["weight_hi"].float() + v["lo_scale"] * v["weight_lo"].float()
    return lambda: F.linear(v["input"].float(), weight, v["bias"])


GPU_BASELINES = [Baseline(in_float32)]
