"""What fused_add_rms_norm is timed against: torch's addition and norm, on a GPU flashinfer's fused one too."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from common.peer import Baseline, Case, Pair, Run, Values, ops, size


def cpu_pair(case: Case, dtype: torch.dtype) -> Pair:
    x, residual, w = (torch.randn(case["T"], case["H"]).to(dtype) for _ in range(3))
    w = w[0].contiguous()
    ours, ours_residual = x.clone(), torch.zeros_like(x)  # the residual stays finite: each call adds a normed row

    def theirs() -> Any:
        total = x + residual
        return F.rms_norm(total, (case["H"],), w, 1e-6)

    return Pair(lambda: ops.fused_add_rms_norm.default(ours, ours_residual, w, 1e-6), theirs, None, 4 * size(x))


def _torch(v: Values) -> Run:
    return lambda: F.rms_norm(v["input"] + v["residual"], (v["input"].shape[-1],), v["weight"], v["epsilon"])


def _flashinfer(v: Values) -> Run:
    import flashinfer

    return lambda: flashinfer.norm.fused_add_rmsnorm(v["input"], v["residual"], v["weight"], v["epsilon"])


GPU_BASELINES = [Baseline(_torch), Baseline(_flashinfer, "flashinfer", "flashinfer-python")]
