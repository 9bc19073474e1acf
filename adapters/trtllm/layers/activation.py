"""Gated activations: the operators that TensorRT-LLM's MLP layers call."""

from __future__ import annotations

import torch
from opswap.adapters.common import functional
from opswap.adapters.trtllm import overrides


def flashinfer_silu_and_mul(x: torch.Tensor) -> torch.Tensor:
    return functional.silu_and_mul(x)


def flashinfer_gelu_tanh_and_mul(x: torch.Tensor) -> torch.Tensor:
    return functional.gelu_tanh_and_mul(x)


def install(_context) -> None:
    kernels = {"flashinfer_silu_and_mul": flashinfer_silu_and_mul}
    if overrides.exists("flashinfer_gelu_tanh_and_mul"):  # 1.2 has none
        kernels["flashinfer_gelu_tanh_and_mul"] = flashinfer_gelu_tanh_and_mul
    overrides.take_over(kernels)
