"""The `_C` operators that vLLM's CPU worker calls and the accelerator wheel lacks.

Only what is missing is defined, so on a wheel with real CPU kernels nothing is replaced.
"""

from __future__ import annotations

import torch
from opswap.adapters.common import functional, paged_cache
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


SHIMS = {
    "init_cpu_memory_env(int[] nodes) -> ()": init_cpu_memory_env,
    "compute_slot_mapping_kernel_impl(Tensor query_start_loc, Tensor positions, Tensor block_table, "
    "Tensor(a!) slot_mapping, int block_size) -> ()": paged_cache.slot_mapping,
    "rotary_embedding(Tensor positions, Tensor(a!) query, Tensor(b!)? key, int head_size, Tensor cos_sin_cache, "
    "bool is_neox, int rope_dim_offset=0, bool inverse=False) -> ()": rotary_embedding,
}


def install(_context) -> None:
    define_missing("_C", SHIMS)
