"""What rms_norm is timed against: torch's own, on a GPU flashinfer's too."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from common.peer import Baseline, Case, Pair, Run, Values, ops, size


def cpu_pair(case: Case, dtype: torch.dtype) -> Pair:
    x, w = torch.randn(case["T"], case["H"]).to(dtype), torch.rand(case["H"]).to(dtype)
    out = torch.empty_like(x)
    return Pair(
        lambda: ops.rms_norm.default(out, x, w, 1e-6),
        lambda: F.rms_norm(x, (case["H"],), w, 1e-6),
        out,
        size(x, out, w),
    )


def _torch(v: Values) -> Run:
    return lambda: F.rms_norm(v["input"], (v["input"].shape[-1],), v["weight"], v["epsilon"])


def _flashinfer(v: Values) -> Run:
    import flashinfer

    return lambda: flashinfer.norm.rmsnorm(v["input"], v["weight"], v["epsilon"], out=v["out"])


GPU_BASELINES = [Baseline(_torch), Baseline(_flashinfer, "flashinfer", "flashinfer-python")]
