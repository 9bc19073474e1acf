"""Unquantised linear layers.

SGLang has no registry for their method, and a quantisation method of our own would need a flag and exclude real ones.
`apply_with_addend` adds to what `apply` returns unless SGLang's cuBLAS route takes the sum too.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from opswap.adapters.common.functional import linear as opswap_linear
from opswap.adapters.sglang.adapter import ADAPTER
from opswap.adapters.sglang.layers.hooks import around

from sglang.srt.runtime_context import get_exec

METHOD = "sglang.srt.layers.quantization.unquant.UnquantizedLinearMethod"


def batch_invariant() -> bool:
    """SGLang's own setting, --enable-deterministic-inference: a row has the same bits in every batch."""
    return bool(get_exec().deterministic.enable_deterministic_inference)


def is_packed(layer: torch.nn.Module) -> bool:
    """Whether SGLang has put the weight into the order that its AMX kernels read."""
    return getattr(layer, "use_intel_amx_backend", False)


def apply(
    original: Callable[..., torch.Tensor],
    method: Any,
    layer: torch.nn.Module,
    x: torch.Tensor,
    bias: torch.Tensor | None = None,
) -> torch.Tensor:
    if is_packed(layer):
        ADAPTER.state.bypass("UnquantizedLinearMethod calls", "the weight is packed for AMX")
        return original(method, layer, x, bias)
    return opswap_linear(x, layer.weight.data, bias, batch_invariant())


def apply_with_addend(
    _original: Callable[..., torch.Tensor],
    method: Any,
    layer: torch.nn.Module,
    x: torch.Tensor,
    addend: torch.Tensor,
    bias: torch.Tensor | None = None,
) -> torch.Tensor:
    """SGLang's contract: the addend counts as consumed, whether it was added to in place or not."""
    return method.apply(layer, x, bias).add_(addend)


def install(_context) -> None:
    around(f"{METHOD}.apply", apply)
    around(f"{METHOD}.apply_with_addend", apply_with_addend)
