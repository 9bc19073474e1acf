"""The `_C` operators that vLLM's CPU worker calls and the accelerator wheel lacks.

Only what is missing is defined, so on a wheel with real CPU kernels nothing is replaced.
"""

from __future__ import annotations

import torch
from opswap.adapters.common import functional, ops, paged_cache
from opswap.adapters.common.torch_library import define_missing


def init_cpu_memory_env(nodes: list[int]) -> None:
    """vLLM binds memory to NUMA nodes here. This process keeps the policy it was started with (numactl)."""


def rotary_embedding(
    positions: torch.Tensor,
    query: torch.Tensor,
    key: torch.Tensor | None,
    head_size: int,
    cos_sin_cache: torch.Tensor,
    is_neox: bool,
    rope_dim_offset: int = 0,
    inverse: bool = False,
) -> None:
    """For rotary classes with a forward of their own; in place on query [..., H * D] and key."""
    if rope_dim_offset or inverse:
        raise NotImplementedError(
            "opswap: _C::rotary_embedding with rope_dim_offset or inverse is not offered by the op rotary_embedding"
        )
    functional.rotary_embedding(positions, query, key, head_size, cos_sin_cache, is_neox)


def static_scaled_fp8_quant(
    result: torch.Tensor, input: torch.Tensor, scale: torch.Tensor, group_shape: tuple[int, int] | None = None
) -> None:
    """Codes of input [M, N] by one scale, into result. vLLM gives the parts of a fused layer one scale by it."""
    if scale.numel() != 1:
        raise NotImplementedError(
            f"opswap: _C::static_scaled_fp8_quant takes one scale here, got {list(scale.shape)}, groups {group_shape}"
        )
    # Without groups and with the scale given, rows that pad the result stay as they are.
    ops.quantize_fp8(result[: input.shape[0]], scale.float().view(1, 1), input, 0, 0, True)


SHIMS = {
    "init_cpu_memory_env(int[] nodes) -> ()": init_cpu_memory_env,
    "compute_slot_mapping_kernel_impl(Tensor query_start_loc, Tensor positions, Tensor block_table, "
    "Tensor(a!) slot_mapping, int block_size) -> ()": paged_cache.slot_mapping,
    "rotary_embedding(Tensor positions, Tensor(a!) query, Tensor(b!)? key, int head_size, Tensor cos_sin_cache, "
    "bool is_neox, int rope_dim_offset=0, bool inverse=False) -> ()": rotary_embedding,
    "static_scaled_fp8_quant(Tensor(a!) result, Tensor input, Tensor scale, (int, int)? group_shape=None) -> ()": (
        static_scaled_fp8_quant
    ),
}


def install(_context) -> None:
    define_missing("_C", SHIMS)
