"""Linear layers in FP8 by the ops gemm_fp8_block128 and gemm_fp8.

On a CPU the input stays in 16 bits: without FP8 arithmetic, quantising it would cost accuracy and gain nothing. On a
CUDA device the kernels multiply codes with codes.
"""

from __future__ import annotations

import torch
from opswap.adapters.common import ops

BLOCK = 128


def fp8_linear(
    x: torch.Tensor,
    weight: torch.Tensor,
    scale: torch.Tensor,
    bias: torch.Tensor | None,
    dtype: torch.dtype,
    batch_invariant: bool = False,
) -> torch.Tensor:
    """x [..., K] times the dequantised weight [N, K] transposed, as `dtype`."""
    rows = x.reshape(-1, x.shape[-1])
    out = torch.empty((rows.shape[0], weight.shape[0]), dtype=dtype, device=x.device)
    codes, scales = quantised_rows(rows) if wants_codes(x) else (rows, None)
    ops.gemm_fp8_block128(out, codes, scales, weight, scale, bias, scales is not None, batch_invariant)
    return out.view(*x.shape[:-1], weight.shape[0])


def wants_codes(x: torch.Tensor) -> bool:
    """Whether the kernels of the device where x lies multiply codes with codes."""
    return x.device.type != "cpu"


def quantised_rows(rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Codes of rows [M, K], and their scales per 128 columns, [ceil(K/128), M], whose rows start 16 bytes apart or a
    multiple of that, as TMA wants them."""
    count, columns = rows.shape
    codes = torch.empty(rows.shape, dtype=torch.float8_e4m3fn, device=rows.device)
    room = torch.empty((-(-columns // BLOCK), -(-count // 4) * 4), dtype=torch.float32, device=rows.device)
    scales = room[:, :count]
    ops.quantize_fp8(codes, scales, rows, 1, BLOCK, False, True)
    return codes, scales


def fp8_scaled_linear(
    x: torch.Tensor,
    weight: torch.Tensor,
    scale: torch.Tensor,
    bias: torch.Tensor | None,
    dtype: torch.dtype,
    input_scale: torch.Tensor | None = None,
    per_token: bool = True,
    batch_invariant: bool = False,
) -> torch.Tensor:
    """x [..., K] times weight [N, K] transposed, whose scales are [1] or [N], as `dtype`.

    Where x is quantised, it is by `input_scale`, or else by scales of its own, one per token or one in all.
    """
    rows = x.reshape(-1, x.shape[-1])
    out = torch.empty((rows.shape[0], weight.shape[0]), dtype=dtype, device=x.device)
    codes, scales = scaled_rows(rows, input_scale, per_token) if wants_codes(x) else (rows, None)
    ops.gemm_fp8(out, codes, scales, weight, scale, bias, batch_invariant)
    return out.view(*x.shape[:-1], weight.shape[0])


def scaled_rows(rows: torch.Tensor, static: torch.Tensor | None, per_token: bool) -> tuple[torch.Tensor, torch.Tensor]:
    """Codes of rows [M, K] by a scale that is given, or with one per row or one for all; and that, [1] or [M]."""
    codes = torch.empty(rows.shape, dtype=torch.float8_e4m3fn, device=rows.device)
    if static is not None:
        scale = static.reshape(1, 1)
        ops.quantize_fp8(codes, scale, rows, 0, 0, True)
    else:
        scale = torch.empty((rows.shape[0] if per_token else 1, 1), dtype=torch.float32, device=rows.device)
        ops.quantize_fp8(codes, scale, rows, int(per_token), 0)
    return codes, scale.view(-1)


def shared_block(parts: list[int]) -> str | None:
    """Why a layer fused of parts with these rows cannot have a scale per 128 x 128, or None when it can."""
    if not any(rows % BLOCK for rows in parts[:-1]):
        return None
    return (
        f"has parts of {', '.join(map(str, parts))} rows, and all but the last need a multiple of {BLOCK}: convert the "
        "model again with `opswap convert MODEL OUT --to fp8_block128`, which keeps such layers in their own precision"
    )
