"""The `framework` implementation of each op: TensorRT-LLM's own kernel, kept when its operator was taken over.

The kernels are looked up at the call: the operators are taken over after `framework` is registered.
"""

from __future__ import annotations

from collections.abc import Callable

from opswap.adapters.common import torch_kernels
from opswap.adapters.trtllm import overrides


def rms_norm(out, x, weight, epsilon=1e-6) -> None:
    out.copy_(overrides.stock("flashinfer_rmsnorm")(x, weight, epsilon))


def fused_add_rms_norm(x, residual, weight, epsilon=1e-6) -> None:
    overrides.stock("flashinfer_fused_add_rmsnorm")(x, residual, weight, epsilon)


def silu_and_mul(out, x) -> None:
    out.copy_(overrides.stock("flashinfer_silu_and_mul")(x))


def gelu_tanh_and_mul(out, x) -> None:
    out.copy_(overrides.stock("flashinfer_gelu_tanh_and_mul")(x))


KERNELS: dict[str, Callable[..., None]] = {
    "rms_norm": rms_norm,
    "fused_add_rms_norm": fused_add_rms_norm,
    "silu_and_mul": silu_and_mul,
    "gelu_tanh_and_mul": gelu_tanh_and_mul,
    "linear": torch_kernels.linear,
}

_ATTENTION = "TensorRT-LLM's attention is one call (thop.attention) that rotates, writes the cache and attends"
ABSENT: dict[str, str] = {
    "rotary_embedding": _ATTENTION,
    "reshape_and_cache": _ATTENTION,
    "paged_attention": _ATTENTION,
    "gemm_fp8_block128": "TensorRT-LLM's kernel takes activations in FP8 with scales of a layout of its own",
    "quantize_fp8": "TensorRT-LLM's kernel makes scales of a layout of its own",
}
