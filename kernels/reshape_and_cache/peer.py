"""What reshape_and_cache is timed against: torch's assignment by index."""

from __future__ import annotations

from typing import Any

import torch
from common.peer import Baseline, Case, Pair, Run, Values, ops, size


def cpu_pair(case: Case, dtype: torch.dtype) -> Pair:
    key, value = (torch.randn(case["T"], case["KH"], case[d]).to(dtype) for d in ("D", "V"))
    caches = [torch.zeros(case["NB"], case["KH"], case["BS"], case[d], dtype=dtype) for d in ("D", "V")] * 2
    caches = [c.clone() for c in caches]
    slots = torch.randperm(case["NB"] * case["BS"])[: case["S"]]

    def theirs() -> Any:
        block, at = slots // case["BS"], slots % case["BS"]
        caches[2][block, :, at] = key
        caches[3][block, :, at] = value
        return caches[3]

    return Pair(
        lambda: ops.reshape_and_cache.default(key, value, caches[0], caches[1], slots),
        theirs,
        caches[1],
        2 * size(key, value),
    )


def _torch(v: Values) -> Run:
    key, value, slots = v["key"], v["value"], v["slot_mapping"].long().clamp(min=0)
    length = v["key_cache"].shape[2]
    block, at = slots // length, slots % length

    def run() -> None:
        v["key_cache"][block, :, at] = key[: len(slots)]
        v["value_cache"][block, :, at] = value[: len(slots)]

    return run


GPU_BASELINES = [Baseline(_torch)]
