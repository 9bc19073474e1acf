"""Which of vLLM's own block FP8 kernels is the implementation `framework` of gemm_fp8_block128 on a card.

vLLM chooses one per layer, by shape and dtype, from its table. Here too, among those that multiply codes with codes:
others take an input of 16 bits, or bring the weight into an order of their own. DeepGEMM's is asked for the scales of
the checkpoint, which Hopper takes, and not for powers of two.
"""

from __future__ import annotations

from typing import Any

import torch

from vllm.model_executor.kernels import linear as tables
from vllm.model_executor.kernels.linear import Fp8BlockScaledMMLinearKernel, choose_scaled_mm_linear_kernel
from vllm.platforms import PlatformEnum

#: By dtype of the output and shape of the weight: what decides in vLLM.
_chosen: dict[tuple[torch.dtype, tuple[int, ...]], Any] = {}


def _multiplies_codes(kernel: type) -> bool:
    return (
        issubclass(kernel, Fp8BlockScaledMMLinearKernel)
        and kernel.apply_input_quant
        and not kernel.__module__.startswith(f"{__package__}.")
    )


def choose(config: Any) -> str | None:
    """Finds vLLM's kernel for such layers; returns why there is none, or None."""
    table = tables._POSSIBLE_FP8_BLOCK_KERNELS[PlatformEnum.CUDA]
    own = {PlatformEnum.CUDA: [kernel for kernel in table if _multiplies_codes(kernel)]}
    try:
        kernel = choose_scaled_mm_linear_kernel(config, own, quantization="fp8_block_w8a8")(config)
    except ValueError as error:
        return f"has no kernel of vLLM's beside it: {error}"
    if hasattr(kernel, "use_deep_gemm_e8m0"):
        kernel.use_deep_gemm_e8m0 = False
    _chosen[config.out_dtype, tuple(config.weight_shape)] = kernel
    return None


def product(out, codes, scales, weight, weight_scale) -> None:
    """codes [M, K] with scales [M, K/128] times weight [N, K] transposed, with scales [N/128, K/128], into out."""
    kernel = _chosen.get((out.dtype, tuple(weight.shape)))
    if kernel is None:
        raise NotImplementedError("opswap: vLLM chooses its block FP8 kernel with a layer, and built none such")
    # Where a kernel wants columns of scales, it wants them one behind the other.
    dense = scales.t().contiguous().t() if scales.stride(0) == 1 else scales
    out.copy_(kernel.apply_block_scaled_mm(A=codes, B=weight, As=dense, Bs=weight_scale))
