"""What concat_and_cache_mla is timed against: torch's rotation, concatenation and assignment by index."""

from __future__ import annotations

from typing import Any

import torch
from common.peer import Case, Pair, ops
from common.peer_mla import Tokens


def cpu_pair(case: Case, dtype: torch.dtype) -> Pair:
    x = Tokens.of(case, dtype)
    cache = torch.zeros(case["NB"], case["BS"], case["C"] + case["R"], dtype=dtype)
    theirs_cache = cache.clone()

    def ours() -> None:
        rest = x.positions, x.cos_sin, x.slots, x.q_pe_out, None, x.q_pe, None, False
        ops.concat_and_cache_mla.default(cache, x.kv_c, x.k_pe, *rest)

    def theirs() -> Any:
        if x.q_pe is not None:
            x.turned(x.q_pe)
        rows = torch.cat([x.kv_c, x.turned(x.k_pe)], -1)
        theirs_cache[x.slots // case["BS"], x.slots % case["BS"]] = rows
        return theirs_cache

    return Pair(ours, theirs, cache, x.moved(cache.shape[-1] * cache.element_size()))
