"""What attention_decode is timed against: torch's attention over gathered keys and values."""

from __future__ import annotations

import torch
from common.peer import Case, Pair, ops
from common.peer_paged import NO_OPTIONS, Pages


def cpu_pair(case: Case, dtype: torch.dtype) -> Pair:
    p = Pages.of(case, dtype, case["lens"])
    return Pair(
        lambda: ops.attention_decode.default(
            p.out, None, p.query, *p.caches, p.table, p.lens, **NO_OPTIONS, plan=None, softmax_scale=p.scale
        ),
        p.torch_decode(),
        p.out,
        *p.work(case, case["lens"]),
    )
