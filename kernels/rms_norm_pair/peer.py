"""What rms_norm_pair is timed against: two calls of torch's norm."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from common.peer import Case, Pair, ops, size


def cpu_pair(case: Case, dtype: torch.dtype) -> Pair:
    """Both are columns of one row, as a model's down projection writes them."""
    both = torch.randn(case["T"], case["Q"] + case["KV"]).to(dtype)
    parts = both.split([case["Q"], case["KV"]], -1)
    weights, outs = (
        [torch.rand(p.shape[-1]).to(dtype) for p in parts],
        [torch.empty(p.shape, dtype=dtype) for p in parts],
    )

    def theirs() -> Any:
        normed = [F.rms_norm(p, (p.shape[-1],), w, 1e-6) for p, w in zip(parts, weights, strict=True)]
        return normed[0]

    return Pair(lambda: ops.rms_norm_pair.default(*outs, *parts, *weights, 1e-6), theirs, outs[0], 2 * size(both))
