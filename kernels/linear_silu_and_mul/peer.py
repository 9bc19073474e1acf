"""What linear_silu_and_mul is timed against: torch's product, and its activation as a second step."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from common.peer import Baseline, Case, Pair, Run, Values, ops, size


def gated(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
    gate, up = F.linear(x, weight, bias).chunk(2, -1)
    return F.silu(gate) * up


def cpu_pair(case: Case, dtype: torch.dtype) -> Pair:
    m, i, k = case["M"], case["I"], case["K"]
    x, w = torch.randn(m, k).to(dtype), (torch.randn(2 * i, k) / k**0.5).to(dtype)
    out = torch.empty(m, i, dtype=dtype)
    return Pair(
        lambda: ops.linear_silu_and_mul.default(out, x, w, None),
        lambda: gated(x, w, None),
        out,
        size(x, w, out),
        4 * m * i * k,
    )


def in_two_steps(v: Values) -> Run:
    return lambda: gated(v["input"], v["weight"], v["bias"])


GPU_BASELINES = [Baseline(in_two_steps)]
