"""What reshape_and_cache_fp8 is timed against: torch's composition of a scale for each token's head, and its
assignment by index."""

from __future__ import annotations

from typing import Any

import torch
from common.peer import Case, Pair, ops, size


def _store(
    rows: torch.Tensor, cache: torch.Tensor, scales: torch.Tensor, block: torch.Tensor, at: torch.Tensor
) -> None:
    x = rows.float()
    scale = x.abs().amax(-1, keepdim=True).clamp(min=1e-4) / 448
    cache[block, :, at] = (x / scale).clamp(-448, 448).to(torch.float8_e4m3fn)
    scales[block, :, at] = scale


def cpu_pair(case: Case, dtype: torch.dtype) -> Pair:
    key, value = (torch.randn(case["T"], case["KH"], case[d]).to(dtype) for d in ("D", "V"))
    slots = torch.randperm(case["NB"] * case["BS"])[: case["S"]]
    shape = (case["NB"], case["KH"], case["BS"])
    codes = [torch.zeros(*shape, case[d]).to(torch.float8_e4m3fn) for d in ("D", "V", "D", "V")]
    scales = [torch.zeros(*shape, 1) for _ in range(4)]

    def theirs() -> Any:
        block, at = slots // case["BS"], slots % case["BS"]
        _store(key, codes[2], scales[2], block, at)
        _store(value, codes[3], scales[3], block, at)
        return codes[3].view(torch.uint8)

    return Pair(
        lambda: ops.reshape_and_cache_fp8.default(key, value, codes[0], codes[1], slots, None, None, *scales[:2]),
        theirs,
        codes[1].view(torch.uint8),
        size(key, value) + (key.numel() + value.numel()),
    )
