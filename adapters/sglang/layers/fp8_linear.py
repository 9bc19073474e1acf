"""Linear layers of checkpoints in FP8 with a scale per 128 x 128, on a CPU; the other ones are in fp8_scaled_linear.

SGLang asks one function for the kernel of such layers. The input stays in 16 bits: without FP8 arithmetic, quantising
it would cost accuracy and gain nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from opswap.adapters.common.fp8 import BLOCK, fp8_linear
from opswap.adapters.common.probe import AdapterRefused
from opswap.adapters.sglang.layers import fp8_scaled_linear
from opswap.adapters.sglang.layers.fp8_scaled_linear import SCHEME_LOADED, UNLOADED
from opswap.adapters.sglang.layers.hooks import around, before
from opswap.adapters.sglang.layers.linear import batch_invariant

DISPATCH = "sglang.srt.layers.quantization.fp8_utils.dispatch_w8a8_block_fp8_linear"
LOADED = "sglang.srt.layers.quantization.fp8.Fp8LinearMethod.process_weights_after_loading"
CONVERT = "opswap convert MODEL --to fp8_block128 --for sglang"


def opswap_block_fp8(
    input: torch.Tensor,
    weight: torch.Tensor,
    block_size: list[int],
    weight_scale: torch.Tensor,
    input_scale: torch.Tensor | None = None,
    bias: torch.Tensor | None = None,
) -> torch.Tensor:
    """SGLang's signature of such a kernel."""
    if input_scale is not None or input.dtype not in (torch.bfloat16, torch.float16):
        told = input.dtype if input_scale is None else "an input that is quantised already"
        raise AdapterRefused(
            f"opswap: linear layers in block FP8 take bfloat16 or float16, got {told}: --dtype bfloat16"
        )
    return fp8_linear(input, weight, weight_scale, bias, input.dtype, batch_invariant())


def dispatch(
    _original: Callable[..., Any], weight_block_size: list[int] | None = None, act_scale_ue8m0: bool = False
) -> Callable[..., torch.Tensor]:
    check_block(weight_block_size)
    return opswap_block_fp8


def check_block(size: list[int] | None) -> None:
    if size is not None and list(size) != [BLOCK, BLOCK]:
        raise AdapterRefused(
            f"opswap: on a CPU linear layers in FP8 have a scale per {BLOCK} x {BLOCK}, this checkpoint has "
            f"{' x '.join(map(str, size))}: {CONVERT}; OPSWAP_SGLANG_SKIP=fp8_linear leaves them to SGLang"
        )


def check_scheme(scheme: Any, layer: torch.nn.Module) -> None:
    """A scheme of compressed-tensors asks for its kernel without a word about the blocks."""
    check_block(scheme.weight_block_size)
    check_scales(scheme, layer)


def check_scales(_method: Any, layer: torch.nn.Module) -> None:
    """Everything behind a layer whose scales were never loaded is NaN."""
    scale = getattr(layer, "weight_scale_inv", None)
    scale = getattr(layer, "weight_scale", None) if scale is None else scale
    if scale is None or scale.dtype != torch.float32 or not lacks(scale):
        return
    name = getattr(layer, "prefix", "") or "a linear layer"
    raise AdapterRefused(
        f"opswap: {name} is in FP8 and SGLang loaded no scales for it: its model class looks for them "
        f"under another name than the checkpoint has. Serve BF16, or convert the model again: {CONVERT}"
    )


def lacks(scale: torch.Tensor) -> bool:
    """Of scales per weight, which have one dimension, a layer that the checkpoint has fused has the first alone."""
    missing = scale == UNLOADED
    return bool(missing.any() if scale.dim() > 1 else missing.reshape(-1)[0])


def install(_context) -> None:
    around(DISPATCH, dispatch)
    fp8_scaled_linear.install()
    # Of the hooks on one target the last one runs first: scales are looked at before anything is made of it.
    before(LOADED, check_scales)
    before(SCHEME_LOADED, check_scheme)
