"""Gated activations: SiLU and tanh-approximated GELU, fused with the product."""

from __future__ import annotations

import torch
from opswap.adapters.vllm.layers.custom_op import LiveOp

from vllm.model_executor.layers.activation import GeluAndMul, SiluAndMul


def _gated(op, x: torch.Tensor) -> torch.Tensor:
    """Runs `op(out [T, I], x [T, 2 I])` on x [..., 2 I]."""
    width = x.shape[-1]
    out = torch.empty((*x.shape[:-1], width // 2), dtype=x.dtype, device=x.device)
    if x.dim() == 2:
        op(out, x)
    else:
        op(out.view(-1, width // 2), x.reshape(-1, width))
    return out


class OpswapSiluAndMul(LiveOp, SiluAndMul):
    def forward_opswap(self, x: torch.Tensor) -> torch.Tensor:
        return _gated(torch.ops.opswap.silu_and_mul, x)

    forward_cpu = forward_cuda = forward_oot = forward_opswap


class OpswapGeluAndMul(LiveOp, GeluAndMul):
    def __init__(self, *args, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        if self.approximate != "tanh":
            self.leave_to_vllm(f"approximate={self.approximate!r}; the op is the tanh form")

    def forward_opswap(self, x: torch.Tensor) -> torch.Tensor:
        return _gated(torch.ops.opswap.gelu_tanh_and_mul, x)

    forward_cpu = forward_cuda = forward_oot = forward_opswap


def install() -> None:
    SiluAndMul.register_oot(OpswapSiluAndMul)
    GeluAndMul.register_oot(OpswapGeluAndMul)
