"""The `framework` implementation of each op: vLLM's own code on a CPU (KERNELS), or why there is none (ABSENT); `here`
has what is otherwise on a CUDA device.

vLLM's layers are called by their public forward_native / forward_static, so what runs is what this version would run.
"""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace

from opswap.adapters.common import torch_kernels


def _native_norm(x, residual, weight, epsilon):
    from vllm.model_executor.layers.layernorm import RMSNorm

    layer = SimpleNamespace(
        weight=weight,
        variance_epsilon=epsilon,
        variance_size_override=None,
        pass_weight=True,
        pass_weight_add=True,
    )
    return RMSNorm.forward_native(layer, x, residual)


def silu_and_mul(out, x) -> None:
    from vllm.model_executor.layers.activation import SiluAndMul

    out.copy_(SiluAndMul.forward_native(x))


def gelu_tanh_and_mul(out, x) -> None:
    from vllm.model_executor.layers.activation import GeluAndMul

    out.copy_(GeluAndMul.forward_native(SimpleNamespace(approximate="tanh"), x))


def rotary_embedding(positions, query, key, cos_sin_cache, is_neox=True) -> None:
    from vllm.model_executor.layers.rotary_embedding.base import RotaryEmbedding

    rotated = RotaryEmbedding.forward_static(
        positions,
        query,
        key,
        query.shape[-1],
        cos_sin_cache.shape[-1],
        cos_sin_cache.to(query.dtype),
        is_neox,
    )
    query.copy_(rotated[0])
    if key is not None:
        key.copy_(rotated[1])


KERNELS: dict[str, Callable[..., None]] = {
    **torch_kernels.norms(_native_norm),
    "silu_and_mul": silu_and_mul,
    "gelu_tanh_and_mul": gelu_tanh_and_mul,
    "rotary_embedding": rotary_embedding,
    "linear": torch_kernels.linear,
    "greedy_sample": torch_kernels.greedy_sample,
}

_NO_ATTENTION = "this vLLM wheel has no attention kernel for a CPU, and its GPU kernels need another cache layout"
_NOT_INVARIANT = "VLLM_BATCH_INVARIANT is set, and torch's product on a CPU depends on the batch"
ABSENT: dict[str, str] = {
    "reshape_and_cache": "this vLLM wheel has no cache kernel for a CPU",
    "reshape_and_cache_fp8": "this vLLM wheel has no cache kernel for a CPU",
    "paged_attention": _NO_ATTENTION,
    "attention_plan": "vLLM's attention kernels have plans of their own",
    "attention_prefill": _NO_ATTENTION,
    "attention_decode": _NO_ATTENTION,
    "gemm_fp8_block128": "vLLM's kernels for block FP8 on a CPU need AMX and a CPU wheel",
    "gemm_fp8": "on a CPU the input stays in 16 bits, and vLLM's kernels for that need a CPU wheel",
    "quantize_fp8": "vLLM's kernels that quantise to FP8 are CUDA's",
    "gumbel_sample": "vLLM's own sampler draws from torch generators, not from the seeds that the op takes",
}


def here(on_cpu: bool) -> dict[str, Callable[..., None] | str]:
    """By op, what differs from the two tables on this machine and under vLLM's settings."""
    if not on_cpu:
        from opswap.adapters.vllm import framework_cuda

        return dict(framework_cuda.KERNELS)
    from vllm import envs

    return {"linear": _NOT_INVARIANT} if envs.VLLM_BATCH_INVARIANT else {}
