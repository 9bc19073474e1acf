"""What quantize_fp8 is timed against: its composition in torch, for groups of 128 columns."""

from __future__ import annotations

import torch
from common.peer import Case, Pair, ops, size


def to_fp8(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Groups of 128 columns."""
    groups = x.float().unflatten(-1, (-1, 128))
    scale = groups.abs().amax(-1, keepdim=True).clamp(min=1e-4) / 448
    return (groups / scale).clamp(-448, 448).to(torch.float8_e4m3fn).view(x.shape), scale.squeeze(-1)


def fp8_outputs(rows: int, columns: int) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.empty(rows, columns, dtype=torch.float8_e4m3fn), torch.empty(rows, -(-columns // 128))


def cpu_pair(case: Case, dtype: torch.dtype) -> Pair:
    x = torch.randn(case["T"], -(-case["H"] // 128) * 128).to(dtype)  # torch's side needs whole groups
    out, scale = fp8_outputs(*x.shape)
    ours = ops.quantize_fp8.default
    return Pair(lambda: ours(out, scale, x, 1, 128, False, False), lambda: to_fp8(x), None, size(x, out, scale))
