"""The `_C` operators that vLLM's CPU worker calls and the accelerator wheel lacks.

Only what is missing is defined, so on a wheel with real CPU kernels nothing is replaced.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import torch
from opswap.adapters.vllm.layers import sampling

_library = cache(lambda: torch.library.Library("_C", "FRAGMENT"))  # kept alive: the operators go with it


def init_cpu_memory_env(nodes: list[int]) -> None:
    """vLLM binds memory to NUMA nodes here. This process keeps the policy it was started with (numactl)."""


def compute_slot_mapping(
    query_start_loc: torch.Tensor,
    positions: torch.Tensor,
    block_table: torch.Tensor,
    slot_mapping: torch.Tensor,
    block_size: int,
) -> None:
    """Slot of each token: block_table [R, MB] at its position. Slots past the last token become -1 (skip)."""
    starts = query_start_loc.numpy()
    tokens = int(starts[-1])
    rows = np.repeat(np.arange(len(starts) - 1), np.diff(starts))
    block, offset = np.divmod(positions.numpy()[:tokens], block_size)
    slots = slot_mapping.numpy()
    slots[:tokens] = block_table.numpy()[rows, block] * np.int64(block_size) + offset
    slots[tokens:] = -1


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
    tokens = positions.numel()
    heads = [None if x is None else x.view(tokens, -1, head_size) for x in (query, key)]
    torch.ops.opswap.rotary_embedding(positions.flatten(), heads[0], heads[1], cos_sin_cache, is_neox)


def static_scaled_fp8_quant(
    result: torch.Tensor, input: torch.Tensor, scale: torch.Tensor, group_shape: tuple[int, int] | None = None
) -> None:
    """Codes of input [M, N] by one scale, into result. vLLM gives the parts of a fused layer one scale by it."""
    if scale.numel() != 1:
        raise NotImplementedError(
            f"opswap: _C::static_scaled_fp8_quant takes one scale here, got {list(scale.shape)}, groups {group_shape}"
        )
    most = torch.finfo(result.dtype).max
    codes = (input.float() / scale.float()).clamp(-most, most).to(result.dtype)
    result[: input.shape[0]].copy_(codes)


SHIMS = {
    "init_cpu_memory_env(int[] nodes) -> ()": init_cpu_memory_env,
    "compute_slot_mapping_kernel_impl(Tensor query_start_loc, Tensor positions, Tensor block_table, "
    "Tensor(a!) slot_mapping, int block_size) -> ()": compute_slot_mapping,
    "rotary_embedding(Tensor positions, Tensor(a!) query, Tensor(b!)? key, int head_size, Tensor cos_sin_cache, "
    "bool is_neox, int rope_dim_offset=0, bool inverse=False) -> ()": rotary_embedding,
    "static_scaled_fp8_quant(Tensor(a!) result, Tensor input, Tensor scale, (int, int)? group_shape=None) -> ()": (
        static_scaled_fp8_quant
    ),
}
SAMPLERS = {schema: sampling.KERNELS[name] for name, schema in sampling.SCHEMAS.items()}


def define_missing(shims: dict[str, object]) -> list[str]:
    """Defines the operators of `shims` that this vLLM build lacks; returns their names."""
    defined = []
    for schema, kernel in shims.items():
        name = schema.partition("(")[0]
        if hasattr(torch.ops._C, name):
            continue
        _library().define(schema)
        _library().impl(name, kernel, "CompositeExplicitAutograd")
        defined.append(name)
    return defined


def install() -> None:
    define_missing(SHIMS)


def install_sampling() -> None:
    define_missing(SAMPLERS)
