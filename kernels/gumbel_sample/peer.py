"""What gumbel_sample is timed against: torch's noise and argmax."""

from __future__ import annotations

from typing import Any

import torch
from common.peer import Case, Pair, ops, size


def cpu_pair(case: Case, dtype: torch.dtype) -> Pair:
    logits, ids = torch.randn(case["B"], case["V"]).to(dtype), torch.empty(case["B"], dtype=torch.int64)
    seeds = torch.arange(case["B"])

    def theirs() -> Any:
        noise = torch.empty(logits.shape, dtype=torch.float32).exponential_().log_()
        return (logits - noise).argmax(-1)

    return Pair(lambda: ops.gumbel_sample.default(ids, logits, seeds), theirs, None, size(logits))
