"""Linear layers of FP8 checkpoints: a scale per 128 x 128, per output channel, or one per weight.

The seam is vLLM's tables of linear kernels. `register_linear_kernel` only appends, so on a CPU ours come after those
that need AMX or a CPU wheel; where these are usable, `VLLM_DISABLED_KERNELS` names what is to step back. Torch's own
kernels for channels and tensors are usable on any CPU and so slow that an engine does not come up: ours is put before
them. On Hopper ours comes first, and the kernel that vLLM had chosen is the implementation `framework` of its op.
"""

from __future__ import annotations

import torch
from opswap.adapters.common.fp8 import BLOCK, fp8_linear, fp8_scaled_linear
from opswap.adapters.common.functional import plain_alias
from opswap.adapters.vllm.layers import stock_fp8

from vllm import envs
from vllm.model_executor.kernels import linear as tables
from vllm.model_executor.kernels.linear import (
    Fp8BlockScaledMMLinearKernel,
    TritonFP8ScaledMMLinearKernel,
    register_linear_kernel,
)
from vllm.model_executor.kernels.linear.scaled_mm.pytorch import TorchFP8ScaledMMLinearKernel
from vllm.platforms import PlatformEnum, current_platform

HOPPER = 90


def refusal(weight_group: tuple[int, int], out_dtype: torch.dtype) -> str | None:
    """Why gemm_fp8_block128 cannot serve such layers, or None; vLLM puts the kernel's name before it."""
    if tuple(weight_group) != (BLOCK, BLOCK):
        return f"serves weight blocks of {BLOCK} x {BLOCK}, got {weight_group[0]} x {weight_group[1]}"
    return refusal_of_dtype(out_dtype)


def refusal_of_dtype(out_dtype: torch.dtype) -> str | None:
    if out_dtype not in (torch.bfloat16, torch.float16):
        return f"writes bfloat16 or float16, got {out_dtype}: pass --dtype bfloat16"
    return None


def refusal_of_columns(columns: int) -> str | None:
    """vLLM's kernels for the input's scales, which run where ours are not named, need whole groups."""
    return f"needs a multiple of {BLOCK} columns on a CUDA device, got {columns}" if columns % BLOCK else None


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


def supported(compute_capability: int | None) -> tuple[bool, str | None]:
    """Whether the kernels below serve this device; vLLM may leave out what it is."""
    if current_platform.is_cpu():
        return True, None
    device = current_platform.get_device_capability() if compute_capability is None else None
    capability = device.to_int() if device else compute_capability
    if current_platform.is_cuda() and capability == HOPPER:
        return True, None
    return False, "serves the CPU, and CUDA devices of compute capability 9.0"


class OpswapFp8Kernel(TritonFP8ScaledMMLinearKernel):
    """What vLLM picks for a layer of FP8 with a scale per output channel or one for the weight.

    It extends one of the two classes that vLLM calls in its batch-invariant mode; weights of others it dequantises.
    """

    @classmethod
    def is_supported(cls, compute_capability: int | None = None) -> tuple[bool, str | None]:
        return supported(compute_capability)

    @classmethod
    def can_implement(cls, c) -> tuple[bool, str | None]:
        group = c.weight_quant_key.scale.group_shape
        if not (group.is_per_tensor() or group.is_per_channel() or group.is_per_token()):  # vLLM says both of a channel
            return False, f"serves one scale per weight or per output channel, got groups of {group.row} x {group.col}"
        group = c.activation_quant_key.scale.group_shape
        if not (group.is_per_tensor() or group.is_per_token()):
            return False, f"serves one scale per token or input, got groups of {group.row} x {group.col}"
        reason = refusal_of_dtype(c.out_dtype)
        return reason is None, reason

    def process_weights_after_loading(self, layer: torch.nn.Module) -> None:
        weight, scale, input_scale, upper_bound = self._get_layer_params(layer)
        if upper_bound is not None and not current_platform.is_cpu():
            name = type(self).__name__
            raise ValueError(f"opswap: {name} takes no upper bound of the input's scale: VLLM_DISABLED_KERNELS={name}")
        # vLLM hands over [K, N], a view of the checkpoint's [N, K].
        layer.opswap_weight = plain_alias(weight).t()
        layer.opswap_scale = plain_alias(scale).float().reshape(-1)
        layer.opswap_input_scale = None if input_scale is None else plain_alias(input_scale).float()
        layer.opswap_invariant = envs.VLLM_BATCH_INVARIANT

    def apply_weights(self, layer: torch.nn.Module, x: torch.Tensor, bias: torch.Tensor | None = None) -> torch.Tensor:
        return fp8_scaled_linear(
            x,
            layer.opswap_weight,
            layer.opswap_scale,
            bias,
            self.config.out_dtype,
            layer.opswap_input_scale,
            self.config.activation_quant_key.scale.group_shape.is_per_token(),
            layer.opswap_invariant,
        )


class OpswapFp8BlockKernel(Fp8BlockScaledMMLinearKernel):
    """What vLLM picks for a layer of FP8 with weight_block_size [128, 128]."""

    apply_input_quant = False  # the ops quantise, where their kernels want codes

    @classmethod
    def is_supported(cls, compute_capability: int | None = None) -> tuple[bool, str | None]:
        return supported(compute_capability)

    @classmethod
    def can_implement(cls, config) -> tuple[bool, str | None]:
        group = config.weight_quant_key.scale.group_shape
        reason = refusal((group.row, group.col), config.out_dtype)
        if reason is None and not current_platform.is_cpu():
            reason = refusal_of_columns(config.weight_shape[1]) or stock_fp8.choose(config)
        return reason is None, reason

    def process_weights_after_loading(self, layer: torch.nn.Module) -> None:
        check_parts(getattr(layer, "prefix", "a layer"), layer.logical_widths)
        params = self._get_layer_params(layer)
        # As in layers/linear.py: plain aliases, because vLLM's parameter classes hook every torch call.
        layer.opswap_weight = plain_alias(params.weight)
        layer.opswap_scale = plain_alias(params.block_scale).float()
        layer.opswap_invariant = envs.VLLM_BATCH_INVARIANT

    def apply_weights(
        self, layer: torch.nn.Module, x: torch.Tensor, bias: torch.Tensor | None = None, **_
    ) -> torch.Tensor:
        dtype = self.config.out_dtype
        return fp8_linear(x, layer.opswap_weight, layer.opswap_scale, bias, dtype, layer.opswap_invariant)

    def apply_block_scaled_mm(self, A, B, As, Bs) -> torch.Tensor:
        raise NotImplementedError("apply_weights of this class does not call it")


def before_torch(kernels: list[type]) -> None:
    """Moves the last kernel of a table to before the first that is torch's."""
    first = next((i for i, kernel in enumerate(kernels) if issubclass(kernel, TorchFP8ScaledMMLinearKernel)), -1)
    if first >= 0:
        kernels.insert(first, kernels.pop())


def install(context) -> None:
    platform = PlatformEnum.CPU if context.on_cpu else PlatformEnum.CUDA
    register_linear_kernel(OpswapFp8BlockKernel, platform, "fp8_block")
    register_linear_kernel(OpswapFp8Kernel, platform, "fp8")
    if context.on_cpu:
        before_torch(tables._POSSIBLE_FP8_KERNELS[platform])
        return
    for table in (tables._POSSIBLE_FP8_BLOCK_KERNELS, tables._POSSIBLE_FP8_KERNELS):
        table[platform].insert(0, table[platform].pop())
