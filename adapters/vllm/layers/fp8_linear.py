"""Linear layers of block FP8 checkpoints: weights in FP8 with a scale per 128 x 128, on a CPU.

The seam is vLLM's table of linear kernels. `register_linear_kernel` only appends, so ours is the last choice; it is the
one that needs neither AMX nor the kernels of a CPU wheel. Where those are usable, `VLLM_DISABLED_KERNELS` names what
is to step back. The input stays in 16 bits: without FP8 arithmetic, quantising it would cost accuracy and gain nothing.
"""

from __future__ import annotations

import torch
from opswap.adapters.common.functional import plain_alias

from vllm.model_executor.kernels.linear import Fp8BlockScaledMMLinearKernel, register_linear_kernel
from vllm.platforms import PlatformEnum, current_platform

BLOCK = 128


def refusal(weight_group: tuple[int, int], out_dtype: torch.dtype) -> str | None:
    """Why gemm_fp8_block128 cannot serve such layers, or None; vLLM puts the kernel's name before it."""
    if tuple(weight_group) != (BLOCK, BLOCK):
        return f"serves weight blocks of {BLOCK} x {BLOCK}, got {weight_group[0]} x {weight_group[1]}"
    if out_dtype not in (torch.bfloat16, torch.float16):
        return f"writes bfloat16 or float16, got {out_dtype}: pass --dtype bfloat16"
    return None


def check_parts(name: str, parts: list[int]) -> None:
    """Raises when two parts of a fused layer share a block: vLLM 0.33 skips its own check, loads the scale rows of one
    part over those of the other, and would compute with wrong scales."""
    if any(rows % BLOCK for rows in parts[:-1]):
        told = ", ".join(map(str, parts))
        raise ValueError(
            f"opswap: {name} is a fused layer in block FP8 whose parts have {told} rows; all but the last need a "
            f"multiple of {BLOCK}, because scales of 128 x 128 cannot belong to two parts. Convert the model again: "
            "`opswap convert` keeps such layers in their own precision and lists them in modules_to_not_convert"
        )


def fp8_linear(
    x: torch.Tensor, weight: torch.Tensor, scale: torch.Tensor, bias: torch.Tensor | None, dtype: torch.dtype
) -> torch.Tensor:
    """x [..., K] times the dequantised weight [N, K] transposed, as `dtype`."""
    rows = x.reshape(-1, x.shape[-1])
    out = torch.empty((rows.shape[0], weight.shape[0]), dtype=dtype, device=x.device)
    torch.ops.opswap.gemm_fp8_block128(out, rows, None, weight, scale, bias)
    return out.view(*x.shape[:-1], weight.shape[0])


class OpswapFp8BlockKernel(Fp8BlockScaledMMLinearKernel):
    """What vLLM picks for a layer of FP8 with weight_block_size [128, 128]."""

    apply_input_quant = False

    @classmethod
    def is_supported(cls, compute_capability: int | None = None) -> tuple[bool, str | None]:
        return (True, None) if current_platform.is_cpu() else (False, "serves the CPU")

    @classmethod
    def can_implement(cls, config) -> tuple[bool, str | None]:
        group = config.weight_quant_key.scale.group_shape
        reason = refusal((group.row, group.col), config.out_dtype)
        return reason is None, reason

    def process_weights_after_loading(self, layer: torch.nn.Module) -> None:
        check_parts(getattr(layer, "prefix", "a layer"), layer.logical_widths)
        params = self._get_layer_params(layer)
        # As in layers/linear.py: plain aliases, because vLLM's parameter classes hook every torch call.
        layer.opswap_weight = plain_alias(params.weight)
        layer.opswap_scale = plain_alias(params.block_scale).float()

    def apply_weights(
        self, layer: torch.nn.Module, x: torch.Tensor, bias: torch.Tensor | None = None, **_
    ) -> torch.Tensor:
        return fp8_linear(x, layer.opswap_weight, layer.opswap_scale, bias, self.config.out_dtype)

    def apply_block_scaled_mm(self, A, B, As, Bs) -> torch.Tensor:
        raise NotImplementedError("apply_weights of this class does not call it")


def install(_context) -> None:
    register_linear_kernel(OpswapFp8BlockKernel, PlatformEnum.CPU, "fp8_block")
