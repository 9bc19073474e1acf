"""RMS norm, alone and with a residual."""

from __future__ import annotations

import torch
from opswap.adapters.common.functional import fused_add_rms_norm, rms_norm
from opswap.adapters.vllm.layers.custom_op import LiveOp

from vllm.model_executor.layers.layernorm import RMSNorm


class OpswapRMSNorm(LiveOp, RMSNorm):
    """x [..., hidden]; with a residual both tensors are updated in place, as vLLM's own fused kernel does."""

    def __init__(self, *args, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        if not self.has_weight:
            self.leave_to_vllm("has no weight")
        elif self.variance_size_override is not None:
            self.leave_to_vllm("takes its variance over a part of the row")

    def forward_opswap(
        self, x: torch.Tensor, residual: torch.Tensor | None = None
    ) -> torch.Tensor | tuple[torch.Tensor, torch.Tensor]:
        if residual is None:
            return rms_norm(x, self.weight, self.variance_epsilon)
        return fused_add_rms_norm(x, residual, self.weight, self.variance_epsilon)

    forward_cpu = forward_cuda = forward_oot = forward_opswap


def install(_context) -> None:
    RMSNorm.register_oot(OpswapRMSNorm)
