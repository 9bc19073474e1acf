"""What gemm_fp8_block128 is timed against: torch's product of 16 bits, for which weights and codes of the input are
restored before."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from common.peer import UNIT, Baseline, Case, Pair, Run, Values, ops, quantised, size
from common.peer_groups import BLOCK, in_16_bits, spread


def cpu_pair(case: Case, dtype: torch.dtype) -> Pair:
    m, n, k = case["M"], case["N"], case["K"]
    x, codes = torch.randn(m, k).to(dtype), quantised(n, k)
    scale = UNIT * torch.rand(-(-n // BLOCK), -(-k // BLOCK)) / k**0.5
    restored = (codes.float() * spread(scale, codes.shape)).to(dtype)
    out = torch.empty(m, n, dtype=dtype)
    return Pair(
        lambda: ops.gemm_fp8_block128.default(out, x, None, codes, scale, None),
        lambda: F.linear(x, restored),
        out,
        size(x, codes, scale, out),
        2 * m * n * k,
    )


def linear(v: Values) -> Run:
    x, weight = in_16_bits(v)
    return lambda: F.linear(x, weight, v["bias"])


GPU_BASELINES = [Baseline(linear)]
