"""Gated activations: SiLU and tanh-approximated GELU, fused with the product."""

from __future__ import annotations

import torch
from opswap.adapters.common.functional import gelu_tanh_and_mul, silu_and_mul
from opswap.adapters.sglang.layers.fused_op import plug

from sglang.srt.layers.activation import GeluAndMul, SiluAndMul


def forward_silu(self: SiluAndMul, x: torch.Tensor) -> torch.Tensor:
    return silu_and_mul(x)


def forward_gelu(self: GeluAndMul, x: torch.Tensor) -> torch.Tensor:
    return gelu_tanh_and_mul(x)


def reason_of_gelu(layer: GeluAndMul, _x: torch.Tensor) -> str | None:
    return None if layer.approximate == "tanh" else f"approximate={layer.approximate!r}; the op is the tanh form"


def install(_context) -> None:
    plug(SiluAndMul, forward_silu, lambda _layer, _x: None)
    plug(GeluAndMul, forward_gelu, reason_of_gelu)
