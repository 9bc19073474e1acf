"""What rotary_embedding is timed against: its composition in torch."""

from __future__ import annotations

from typing import Any

import torch
from common.peer import Case, Pair, ops, size


def cpu_pair(case: Case, dtype: torch.dtype) -> Pair:
    query, key = (torch.randn(case["T"], case[h], case["D"]).to(dtype) for h in ("QH", "KH"))
    positions = torch.randint(0, case["P"], (case["T"],))
    angle = torch.arange(case["P"])[:, None] / 10000 ** (torch.arange(0, case["R"], 2) / case["R"])
    cache = torch.cat([angle.cos(), angle.sin()], -1).to(dtype)
    ours, ours_key = query.clone(), key.clone()

    def rotate(x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
        a, b = x.chunk(2, -1)
        return torch.cat((a * cos - b * sin, b * cos + a * sin), -1)

    def theirs() -> Any:
        cos, sin = cache[positions][:, None].chunk(2, -1)
        return rotate(query, cos, sin), rotate(key, cos, sin)

    return Pair(
        lambda: ops.rotary_embedding.default(positions, ours, ours_key, cache, True), theirs, None, 2 * size(query, key)
    )
