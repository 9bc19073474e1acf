"""The weights that a converted checkpoint stands for, in float32: read by the rules of docs/layouts.md, with torch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from opswap.errors import require

BLOCK = 128


def tensors_of(folder: Path) -> dict[str, Any]:
    require("reading converted weights", "torch", "safetensors")
    from safetensors.torch import load_file

    return {name: x for file in sorted(folder.glob("*.safetensors")) for name, x in load_file(file).items()}


def dequantised(folder: Path) -> dict[str, Any]:
    """Tensors by the names of the source."""
    tensors = tensors_of(folder)
    plain = {}
    for name, x in tensors.items():
        if name.endswith((".weight_scale_inv", ".weight_scale", ".weight_shape", ".input_scale")):
            continue
        layer = name.removesuffix(".weight_packed").removesuffix(".weight")
        scale = tensors.get(f"{layer}.weight_scale_inv", tensors.get(f"{layer}.weight_scale"))
        if scale is None or name == f"{layer}.bias":
            plain[name] = x.float()
        else:
            codes = _codes(x)
            plain[f"{layer}.weight"] = codes * _spread(scale.float(), codes.shape)
    return plain


def _codes(x: Any) -> Any:
    """e4m3, or two int4 to a byte (low nibble first, two's complement), or eight to an int32 (offset by 8)."""
    import torch

    if x.dtype == torch.float8_e4m3fn:
        return x.float()
    count = {torch.int8: 2, torch.int32: 8}[x.dtype]
    nibbles = (x.int().unsqueeze(-1) >> (4 * torch.arange(count))) & 15
    signed = nibbles - 8 if count == 8 else (nibbles ^ 8) - 8
    return signed.flatten(1).float()


def _spread(scale: Any, shape: tuple[int, int]) -> Any:
    """One scale for each weight: of the tensor, of a row, of 128 columns of a row, or of 128 x 128."""
    rows, columns = shape
    if scale.numel() == 1:
        return scale.reshape(1, 1)
    if scale.shape[0] != rows:
        scale = scale.repeat_interleave(BLOCK, 0)[:rows]
    return scale if scale.shape[1] == 1 else scale.repeat_interleave(BLOCK, 1)[:, :columns]
