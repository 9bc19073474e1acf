"""What attention_prefill is timed against: torch's attention over gathered keys and values."""

from __future__ import annotations

import torch
from common.peer import Case, Pair, ops
from common.peer_paged import Pages, prefill_with


def cpu_pair(case: Case, dtype: torch.dtype) -> Pair:
    p = Pages.of(case, dtype, case["lens"])
    theirs = p.torch_prefill()
    return Pair(
        prefill_with(ops.attention_prefill.default, p, "key_start_loc"),
        lambda: theirs().contiguous(),
        p.out,
        *p.work(case, case["lens"]),
    )
