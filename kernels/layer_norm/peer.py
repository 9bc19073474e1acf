"""What layer_norm is timed against: torch's own."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from common.peer import Baseline, Case, Pair, Run, Values, ops, size


def cpu_pair(case: Case, dtype: torch.dtype) -> Pair:
    x, (w, b) = torch.randn(case["T"], case["H"]).to(dtype), torch.rand(2, case["H"]).to(dtype)
    out = torch.empty_like(x)
    return Pair(
        lambda: ops.layer_norm.default(out, x, w, b, 1e-5),
        lambda: F.layer_norm(x, (case["H"],), w, b, 1e-5),
        out,
        size(x, out, w, b),
    )


def _torch(v: Values) -> Run:
    return lambda: F.layer_norm(v["input"], (v["input"].shape[-1],), v["weight"], v.get("bias"), v["epsilon"])


GPU_BASELINES = [Baseline(_torch)]
