"""What concat_and_cache_mla_quant_fp8 is timed against: the same token put together by torch."""

from __future__ import annotations

from typing import Any

import torch
from common.peer import Case, Pair, ops
from common.peer_mla import Tokens

LEAST = 2.0**-126


def cpu_pair(case: Case, dtype: torch.dtype) -> Pair:
    x = Tokens.of(case, dtype)
    key = case["C"] + case["C"] // 32  # where it starts in a token: torch rounds it in another order
    width = key + 2 * case["R"]
    cache = torch.zeros(case["NB"], case["BS"], width, dtype=torch.uint8)
    theirs_cache = cache.clone()

    def ours() -> None:
        rest = x.positions, x.cos_sin, x.slots, x.q_pe_out, None, x.q_pe, 0.0, False, False
        ops.concat_and_cache_mla_quant_fp8.default(cache, x.kv_c, x.k_pe, *rest)

    def theirs() -> Any:
        if x.q_pe is not None:
            x.turned(x.q_pe)
        groups = x.kv_c.float().unflatten(-1, (-1, 128))
        scale = (groups.abs().amax(-1, keepdim=True) / 448).clamp(min=LEAST)
        codes = (groups / scale).to(torch.float8_e4m3fn).flatten(1)
        parts = [codes, scale.flatten(1), x.turned(x.k_pe).bfloat16()]
        token = torch.cat([p.view(torch.uint8) for p in parts], -1)
        theirs_cache[x.slots // case["BS"], x.slots % case["BS"]] = token
        return theirs_cache[..., :key]

    return Pair(ours, theirs, cache[..., :key], x.moved(width))
