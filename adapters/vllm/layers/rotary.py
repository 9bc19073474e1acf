"""Rotary embedding: the base class and every subclass that only fills the cos/sin cache differently."""

from __future__ import annotations

import torch
from opswap.adapters.common.functional import rotary_embedding
from opswap.adapters.vllm.layers.custom_op import LiveOp

import vllm.model_executor.layers.rotary_embedding as rotary
from vllm.model_executor.layers.rotary_embedding.base import RotaryEmbedding

FORWARDS = ("forward_native", "forward_cuda", "forward_cpu", "forward_static")


class LiveRotary(LiveOp):
    """query [..., QH * D] and key [..., KH * D] are rotated in place; both may be slices of one fused projection."""

    def forward_opswap(
        self, positions: torch.Tensor, query: torch.Tensor, key: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        cache = self._match_cos_sin_cache_dtype(query)
        return rotary_embedding(positions, query, key, self.head_size, cache, self.is_neox_style)

    forward_cpu = forward_cuda = forward_oot = forward_opswap


def covered_classes() -> list[type[RotaryEmbedding]]:
    """RotaryEmbedding and its subclasses that inherit every forward, found in vLLM's own package."""
    classes = {RotaryEmbedding}
    for value in vars(rotary).values():
        if isinstance(value, type) and issubclass(value, RotaryEmbedding) and _inherits_forward(value):
            classes.add(value)
    return sorted(classes, key=lambda cls: cls.__name__)


def _inherits_forward(cls: type) -> bool:
    return all(getattr(cls, name) is getattr(RotaryEmbedding, name) for name in FORWARDS)


def install(_context) -> None:
    for cls in covered_classes():
        cls.register_oot(type(f"Opswap{cls.__name__}", (LiveRotary, cls), {"__module__": __name__}))
