"""RMS norm, alone and with a residual: the two operators that TensorRT-LLM's RMSNorm calls.

Gemma's norms have operators of their own, which keep TensorRT-LLM's kernels.
"""

from __future__ import annotations

import torch
from opswap.adapters.common.functional import fused_add_rms_norm, rms_norm
from opswap.adapters.trtllm.overrides import take_over


def flashinfer_rmsnorm(input: torch.Tensor, weight: torch.Tensor, eps: float) -> torch.Tensor:
    return rms_norm(input, weight, eps)


def flashinfer_fused_add_rmsnorm(input: torch.Tensor, residual: torch.Tensor, weight: torch.Tensor, eps: float) -> None:
    """The sum goes to residual, the norm of it to input; both are written in place."""
    fused_add_rms_norm(input, residual, weight, eps)


def install(_context) -> None:
    take_over({kernel.__name__: kernel for kernel in (flashinfer_rmsnorm, flashinfer_fused_add_rmsnorm)})
