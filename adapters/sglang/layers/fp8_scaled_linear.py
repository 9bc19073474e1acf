"""Linear layers in FP8 with a scale per output channel or per weight, on a CPU, where SGLang's own want AMX.

A fused layer of a checkpoint with a scale per weight has a scale for each of its parts. Each row keeps that of its
part: nothing is quantised again, as SGLang does to have one scale for all.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from opswap.adapters.common.fp8 import fp8_scaled_linear
from opswap.adapters.common.probe import AdapterRefused
from opswap.adapters.sglang.layers.hooks import around
from opswap.adapters.sglang.layers.linear import batch_invariant

METHOD = "sglang.srt.layers.quantization.fp8.Fp8LinearMethod"
_COMPRESSED = "sglang.srt.layers.quantization.compressed_tensors"
SUPPORTED = f"{_COMPRESSED}.compressed_tensors.CompressedTensorsConfig._check_scheme_supported"
SCHEME_LOADED = (
    f"{_COMPRESSED}.schemes.compressed_tensors_w8a8_fp8.CompressedTensorsW8A8Fp8.process_weights_after_loading"
)
APPLY = "sglang.srt.layers.quantization.fp8_utils.apply_fp8_linear"
#: What a scale of SGLang's holds before one is loaded.
UNLOADED = torch.finfo(torch.float32).min


def scales_of_rows(scale: torch.Tensor, parts: list[int]) -> torch.Tensor:
    """One for each row of a layer fused of parts; of one that the checkpoint has fused, only the first is loaded."""
    if scale.numel() == 1 or bool(scale[-1] == UNLOADED):
        return scale.float().reshape(-1)[:1]
    return scale.float().repeat_interleave(torch.tensor(parts))


def load(original: Callable[..., None], method: Any, layer: torch.nn.Module) -> None:
    if method.block_quant:
        original(method, layer)
        return
    if not method.is_checkpoint_fp8_serialized:
        raise AdapterRefused(
            "opswap: --quantization fp8 on a CPU takes a checkpoint that is in FP8 already: opswap convert MODEL "
            "--to fp8_block128 --for sglang"
        )
    layer.opswap_scale = scales_of_rows(layer.weight_scale.data, layer.logical_widths)


def apply(
    original: Callable[..., torch.Tensor],
    method: Any,
    layer: torch.nn.Module,
    x: torch.Tensor,
    bias: torch.Tensor | None = None,
) -> torch.Tensor:
    if method.block_quant:
        return original(method, layer, x, bias)
    return product(x, layer.weight.data, layer.opswap_scale, bias)


def supported(original: Callable[..., bool], config: Any, min_capability: int, error: bool = True) -> bool:
    """SGLang asks CUDA's driver which schemes of compressed-tensors the card takes, on a CPU too, where none is."""
    from sglang.srt.layers.quantization.compressed_tensors.schemes import CompressedTensorsW8A8Fp8

    # No other scheme of linear layers has this number.
    return min_capability == CompressedTensorsW8A8Fp8.get_min_capability() or original(config, min_capability, error)


def load_scheme(original: Callable[..., None], scheme: Any, layer: torch.nn.Module) -> None:
    """Layers of compressed-tensors; SGLang would quantise those with a scale per weight again, by a CUDA kernel."""
    if scheme.strategy != "tensor":
        original(scheme, layer)
        return
    scale = scales_of_rows(layer.weight_scale.data, layer.logical_widths)
    layer.weight = torch.nn.Parameter(layer.weight.data.t(), requires_grad=False)
    layer.weight_scale = torch.nn.Parameter(scale, requires_grad=False)
    layer.input_scale = None


def apply_scaled(
    _original: Callable[..., torch.Tensor],
    input: torch.Tensor,
    weight: torch.Tensor,
    weight_scale: torch.Tensor,
    input_scale: torch.Tensor | None = None,
    input_scale_ub: torch.Tensor | None = None,
    bias: torch.Tensor | None = None,
    **_: Any,
) -> torch.Tensor:
    """What SGLang's other methods and schemes call, those of compressed-tensors among them: the weight is [K, N]."""
    return product(input, weight.t(), weight_scale.float().reshape(-1), bias)


def product(x: Any, weight: torch.Tensor, scale: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
    dtype = getattr(x, "dtype", None)
    if dtype not in (torch.bfloat16, torch.float16):
        told = dtype or "an input that is quantised already"
        raise AdapterRefused(f"opswap: linear layers in FP8 take bfloat16 or float16, got {told}: --dtype bfloat16")
    return fp8_scaled_linear(x, weight, scale, bias, dtype, batch_invariant=batch_invariant())


def install() -> None:
    around(f"{METHOD}.process_weights_after_loading", load)
    around(f"{METHOD}.apply", apply)
    around(SUPPORTED, supported)
    around(SCHEME_LOADED, load_scheme)
    around(APPLY, apply_scaled)
