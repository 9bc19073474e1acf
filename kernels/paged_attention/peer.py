"""What paged_attention is timed against: torch's attention over gathered keys and values."""

from __future__ import annotations

import torch
from common.peer import Case, Pair, ops
from common.peer_paged import Pages, prefill_with


def cpu_pair(case: Case, dtype: torch.dtype) -> Pair:
    """A mixed batch; torch runs the decoding sequences and the prefilling one as two calls."""
    p = Pages.of(case, dtype, case["lens"])
    decode = Pages.of(case, dtype, [n for n in case["lens"] if n[0] == 1]).torch_decode()
    prefill = Pages.of(case, dtype, [n for n in case["lens"] if n[0] > 1]).torch_prefill()
    return Pair(
        prefill_with(ops.paged_attention.default, p, "plan"),
        lambda: (decode(), prefill()),
        None,
        *p.work(case, case["lens"]),
    )
