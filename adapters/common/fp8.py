"""Linear layers in FP8 by the op gemm_fp8_block128, whose weight has the scales.

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


def blocks_of_channels(scale: torch.Tensor, shape: tuple[int, int]) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Scales of a weight [N, K], one or one per row, as the op takes them: block scales [ceil(N/128), ceil(K/128)] and
    what each output feature is still multiplied with; None where all are 1.

    A block takes the largest of its scales, so the rest is at most 1 and the last product cannot overflow. Before it,
    an output is as large as if its row had that scale: float16 overflows where scales of a block lie far apart.
    """
    rows, columns = shape
    each = scale.float().reshape(-1).expand(rows)
    ends = list(range(0, rows, BLOCK))
    largest = torch.stack([each[i : i + BLOCK].abs().amax() for i in ends])
    over = largest.repeat_interleave(BLOCK)[:rows]
    rest = torch.where(over == 0, torch.ones_like(over), each / over)
    grid = largest[:, None].repeat(1, -(-columns // BLOCK))
    return grid, None if bool((rest == 1).all()) else rest


def shared_block(parts: list[int]) -> str | None:
    """Why a layer fused of parts with these rows cannot have a scale per 128 x 128, or None when it can."""
    if not any(rows % BLOCK for rows in parts[:-1]):
        return None
    return (
        f"has parts of {', '.join(map(str, parts))} rows, and all but the last need a multiple of {BLOCK}: convert the "
        "model again with `opswap convert MODEL OUT --to fp8_block128`, which keeps such layers in their own precision"
    )
