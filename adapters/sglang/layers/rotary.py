"""Rotary embedding: the base class and the subclasses that only fill the cos/sin table differently."""

from __future__ import annotations

from typing import Any

import torch
from opswap.adapters.common.functional import rotary_embedding, write_tokens
from opswap.adapters.sglang.layers.fused_op import plug

from sglang.srt.layers.rotary_embedding import factory  # noqa: F401  SGLang's own subclasses exist from here on
from sglang.srt.layers.rotary_embedding.base import RotaryEmbedding

#: Each inherits every forward of the base class; all others, MRotaryEmbedding above all, have one of their own.
COVERED = (
    "base.LinearScalingRotaryEmbedding",
    "rope_variant.DynamicNTKAlphaRotaryEmbedding",
    "rope_variant.DynamicNTKScalingRotaryEmbedding",
    "rope_variant.Gemma4RotaryEmbedding",
    "rope_variant.Llama3RotaryEmbedding",
    "yarn.YaRNScalingRotaryEmbedding",
)


def reason(layer: RotaryEmbedding, _positions: torch.Tensor) -> str | None:
    return "has a table of another platform" if hasattr(layer, "sin_cos_cache") else None


def forward(
    self: RotaryEmbedding,
    positions: torch.Tensor,
    query: torch.Tensor,
    key: torch.Tensor,
    offsets: torch.Tensor | None = None,
    fused_set_kv_buffer_arg: Any = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """query [..., QH * D] and key [..., KH * D] are rotated in place; both may be slices of one fused projection.

    Some models have K and V of the step written here (`fused_set_kv_buffer_arg`) and not in attention.
    """
    if offsets is not None:
        positions = positions + offsets
    rotated = rotary_embedding(positions, query, key, self.head_size, self.cos_sin_cache, self.is_neox_style)
    if (into := fused_set_kv_buffer_arg) is not None:
        write_tokens(key, into.value, into.k_buffer, into.v_buffer, into.cache_loc, self.head_size)
    return rotated


def install(_context) -> None:
    plug(RotaryEmbedding, forward, reason, COVERED)
