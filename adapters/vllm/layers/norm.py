"""RMSNorm, with and without the residual add."""

from __future__ import annotations

import torch
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
        weight = self.weight
        if residual is not None:
            hidden = x.shape[-1]
            torch.ops.opswap.fused_add_rms_norm(
                x.view(-1, hidden), residual.view(-1, hidden), weight, self.variance_epsilon
            )
            return x, residual
        if x.dim() == 2:
            out = torch.empty_like(x)
            torch.ops.opswap.rms_norm(out, x, weight, self.variance_epsilon)
            return out
        out = torch.empty(x.shape, dtype=x.dtype, device=x.device)
        hidden = x.shape[-1]
        torch.ops.opswap.rms_norm(out.view(-1, hidden), x.reshape(-1, hidden), weight, self.variance_epsilon)
        return out

    forward_cpu = forward_cuda = forward_oot = forward_opswap


def install() -> None:
    RMSNorm.register_oot(OpswapRMSNorm)
