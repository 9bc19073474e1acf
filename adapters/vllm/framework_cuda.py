"""vLLM's own CUDA kernels as implementations `framework`: what its layers call, into the tensors of the op."""

from __future__ import annotations

from collections.abc import Callable

import torch

from vllm import _custom_ops as kernels
from vllm import envs
from vllm.model_executor.determinism import batch_invariant as invariant

FP8_LARGEST = 448.0


def rms_norm(out, x, weight, epsilon=1e-6) -> None:
    if envs.VLLM_BATCH_INVARIANT:
        out.copy_(invariant.rms_norm_batch_invariant(x, weight, epsilon))
    else:
        kernels.rms_norm(out, x, weight, epsilon)


def fused_add_rms_norm(x, residual, weight, epsilon=1e-6) -> None:
    kernels.fused_add_rms_norm(x, residual, weight, epsilon)  # vLLM's batch-invariant mode has no other


def silu_and_mul(out, x) -> None:
    torch.ops._C.silu_and_mul(out, x)


def gelu_tanh_and_mul(out, x) -> None:
    torch.ops._C.gelu_tanh_and_mul(out, x)


def rotary_embedding(positions, query, key, cos_sin_cache, is_neox=True) -> None:
    kernels.rotary_embedding(positions, query, key, query.shape[-1], cos_sin_cache.to(query.dtype), is_neox)


def linear(out, x, weight, bias=None, batch_invariant=False) -> None:
    """What torch.nn.functional.linear runs, without a tensor between it and `out`."""
    if batch_invariant:
        out.copy_(invariant.linear_batch_invariant(x, weight, bias))
    elif bias is None:
        torch.mm(x, weight.t(), out=out)
    else:
        torch.addmm(bias, x, weight.t(), out=out)


def quantize_fp8(
    out, scale, x, group_rows=1, group_columns=128, static_scale=False, mn_major=False, floor=1e-4
) -> None:
    """vLLM's kernels for a scale per tensor or token have a floor of their own."""
    x = x.contiguous()
    if static_scale:
        kernels.scaled_fp8_quant(x, scale.view(1), output=out)
    elif (group_rows, group_columns) == (1, 128):
        scales = scale.t() if mn_major else scale  # [T, groups]
        aligned = mn_major and scales.stride(1) != scales.shape[0]
        torch.ops._C.per_token_group_fp8_quant(
            x, out, scales, group_columns, floor, -FP8_LARGEST, FP8_LARGEST, False, mn_major, aligned
        )
    elif (group_rows, group_columns) == (1, 0):
        torch.ops._C.dynamic_per_token_scaled_fp8_quant(out, x, scale.view(-1, 1), None)
    elif (group_rows, group_columns) == (0, 0):
        torch.ops._C.dynamic_scaled_fp8_quant(out, x, scale.view(1))
    else:
        raise NotImplementedError(f"opswap: vLLM has no kernel for scales per {group_rows} x {group_columns} on a card")


def gemm_fp8_block128(out, x, input_scale, weight, weight_scale, bias, mn_major=False, batch_invariant=False) -> None:
    """The kernel that vLLM chose when the layer was built, which it uses in its batch-invariant mode too."""
    from opswap.adapters.vllm.layers.stock_fp8 import product

    if input_scale is None:
        raise NotImplementedError("opswap: vLLM's block FP8 kernels multiply codes with codes")
    product(out, x, input_scale.t() if mn_major else input_scale, weight, weight_scale)
    if bias is not None:
        out.add_(bias)


def gemm_fp8(out, x, input_scale, weight, weight_scale, bias=None, batch_invariant=False) -> None:
    """CUTLASS's, or Triton's where a side is no multiple of 16; vLLM takes both for batch-invariant."""
    if input_scale is None:
        raise NotImplementedError("opswap: vLLM's FP8 kernels multiply codes with codes")
    scales = input_scale.view(-1, 1), weight_scale.view(-1, 1)
    out.copy_(kernels.cutlass_scaled_mm(x, weight.t(), *scales, out.dtype, bias))


KERNELS: dict[str, Callable[..., None]] = {
    "rms_norm": rms_norm,
    "fused_add_rms_norm": fused_add_rms_norm,
    "silu_and_mul": silu_and_mul,
    "gelu_tanh_and_mul": gelu_tanh_and_mul,
    "rotary_embedding": rotary_embedding,
    "linear": linear,
    "quantize_fp8": quantize_fp8,
    "gemm_fp8_block128": gemm_fp8_block128,
    "gemm_fp8": gemm_fp8,
}
