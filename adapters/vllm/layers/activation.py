"""Gated activations: SiLU and tanh-approximated GELU, fused with the product."""

from __future__ import annotations

from opswap.adapters.common.functional import gelu_tanh_and_mul, silu_and_mul
from opswap.adapters.vllm.layers.custom_op import LiveOp

from vllm.model_executor.layers.activation import GeluAndMul, SiluAndMul


class OpswapSiluAndMul(LiveOp, SiluAndMul):
    forward_cpu = forward_cuda = forward_oot = staticmethod(silu_and_mul)


class OpswapGeluAndMul(LiveOp, GeluAndMul):
    def __init__(self, *args, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        if self.approximate != "tanh":
            self.leave_to_vllm(f"approximate={self.approximate!r}; the op is the tanh form")

    forward_cpu = forward_cuda = forward_oot = staticmethod(gelu_tanh_and_mul)


def install(_context) -> None:
    SiluAndMul.register_oot(OpswapSiluAndMul)
    GeluAndMul.register_oot(OpswapGeluAndMul)
