"""What greedy_sample is timed against: torch's argmax."""

from __future__ import annotations

import torch
from common.peer import Case, Pair, ops, size


def cpu_pair(case: Case, dtype: torch.dtype) -> Pair:
    logits, ids = torch.randn(case["B"], case["V"]).to(dtype), torch.empty(case["B"], dtype=torch.int64)
    return Pair(lambda: ops.greedy_sample.default(ids, logits), lambda: logits.argmax(-1), None, size(logits))
