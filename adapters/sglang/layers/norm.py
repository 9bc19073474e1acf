"""RMS norm, alone and with a residual."""

from __future__ import annotations

import torch
from opswap.adapters.common.functional import fused_add_rms_norm, rms_norm
from opswap.adapters.sglang.layers.fused_op import plug

from sglang.srt.batch_invariant_ops import is_batch_invariant_mode_enabled
from sglang.srt.layers.layernorm import RMSNorm


def reason(layer: RMSNorm, x: torch.Tensor) -> str | None:
    """Why this norm is not the op's."""
    told = {
        "has no weight": not layer.has_weight,
        "takes its variance over a part of the row": layer.variance_size_override is not None,
        "rounds before it multiplies with the weight": layer.cast_x_before_out_mul,
        "keeps its residual in float32": layer.fp32_residual,
        "writes another dtype than it reads": layer.override_orig_dtype is not None,
        "has a weight of another dtype than its input": layer.weight.dtype != x.dtype,
        "runs in batch-invariant mode": is_batch_invariant_mode_enabled(),
    }
    return next((why for why, holds in told.items() if holds), None)


def forward(
    self: RMSNorm,
    x: torch.Tensor,
    residual: torch.Tensor | None = None,
    post_residual_addition: torch.Tensor | None = None,
    quant_linear: torch.nn.Module | None = None,
) -> torch.Tensor | tuple[torch.Tensor, torch.Tensor]:
    """x [..., hidden]; with a residual both are updated in place, as SGLang's own fused kernel does.

    The projection behind it (`quant_linear`) quantises its input itself, as it does where SGLang cannot fuse that.
    """
    if residual is None:
        return rms_norm(x, self.weight.data, self.variance_epsilon)
    if post_residual_addition is not None:
        residual = residual + post_residual_addition
    if x.dim() != 2:
        x, residual = x.contiguous(), residual.contiguous()
    return fused_add_rms_norm(x, residual, self.weight.data, self.variance_epsilon)


def install(_context) -> None:
    plug(RMSNorm, forward, reason)
