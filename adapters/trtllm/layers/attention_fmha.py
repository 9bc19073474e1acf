"""Attention from 1.4 on: a library in TensorRT-LLM's registry, asked first. Its attention class stays its own."""

from __future__ import annotations

import os

import torch
from opswap.adapters.trtllm.layers import paged
from opswap.adapters.trtllm.refusal import refuse, stays
from tensorrt_llm._torch.attention.backends.fmha.interface import Fmha
from tensorrt_llm._torch.attention.backends.fmha.registry import FMHA_LIBS
from tensorrt_llm._torch.attention.backends.interface import PredefinedAttentionMask

SEAM, NAME, VARIABLE = "attention", "opswap", "TLLM_FMHA_LIBS"
#: Fields of AttentionForwardArgs that ask for something that we do not compute, where they are set.
ASKING = (
    "out_scale",
    "output_sf",
    "attention_mask_data",
    "relative_attention_bias",
    "cross_kv",
    "mrope_rotary_cos_sin",
    "softmax_stats_tensor",
)


class OpswapFmha(Fmha):
    """One per attention layer."""

    def __init__(self, attn) -> None:
        super().__init__(attn)
        position_type = attn.position_embedding_type
        self.layer = paged.Layer(
            attn.layer_idx,
            attn.num_heads,
            attn.num_kv_heads,
            attn.head_dim,
            paged.scale_of(attn.head_dim, attn.q_scaling),
            paged.NEOX[position_type],
            attn.rope_dim,
        )
        self._rotation: tuple[torch.Tensor, torch.Tensor] | None = None

    @classmethod
    def is_available(cls, attn) -> bool:
        reason = paged.refusal_of_layer(attn, attn.position_embedding_type, attn.rope_scale_type)
        return not stays(SEAM, reason)

    def is_supported(self, q, k, v, metadata, forward_args, *, phase=None) -> bool:
        asked = {name: getattr(forward_args, name) for name in ASKING}
        if forward_args.attention_mask != PredefinedAttentionMask.CAUSAL:
            asked["attention_mask"] = forward_args.attention_mask
        if metadata.kv_layout != "HND":
            asked["kv_layout"] = metadata.kv_layout
        if not forward_args.update_kv_cache:
            asked["update_kv_cache"] = False
        if phase is not None:  # a part of a batch; ours takes whole ones
            return False
        return not stays(SEAM, paged.refusal_of_step(metadata, asked, forward_args.attention_window_size))

    def forward(self, q, k, v, metadata, forward_args) -> None:
        attn, layer = self.attn, self.layer
        cache = metadata.kv_cache_manager.get_buffers(attn.layer_idx, kv_layout="HND")
        table = paged.block_table(metadata, attn.local_layer_idx, cache)
        parts, scale = paged.parts(layer, q, k, v), paged.cache_scale(attn, cache)
        out, sinks = forward_args.output, forward_args.attention_sinks
        paged.attend(layer, paged.step_of(metadata), parts, cache, table, self.rotation(attn), out, scale, sinks)

    def rotation(self, attn) -> torch.Tensor | None:
        if self.layer.neox is None:
            return None
        table = attn.rotary_cos_sin
        if self._rotation is None or self._rotation[0] is not table:
            positions = attn.rope_params.max_positions
            self._rotation = table, paged.cos_sin_cache(table, positions, self.layer.rotary_dim)
        return self._rotation[1]


def install(_context) -> None:
    """First in the registry, and among the libraries that are asked; a list of the user's own has to name it."""
    named = [name.strip() for name in os.environ.get(VARIABLE, "").split(",") if name.strip()]
    exact = bool(named) and named[0][0] not in "+-"
    if f"-{NAME}" in named or (exact and NAME not in named):
        refuse(SEAM, f"its library with {VARIABLE}={os.environ[VARIABLE]}, which leaves {NAME} out: add {NAME} to it")
    others = {name: library for name, library in FMHA_LIBS.items() if name != NAME}
    FMHA_LIBS.clear()
    FMHA_LIBS.update({NAME: OpswapFmha, **others})
    if not exact and f"+{NAME}" not in named:
        os.environ[VARIABLE] = ",".join([*named, f"+{NAME}"])


def remove() -> None:
    """The way back, for attention layers that are built from here on."""
    FMHA_LIBS.pop(NAME, None)
    named = [name for name in os.environ.get(VARIABLE, "").split(",") if name.strip().lstrip("+") != NAME]
    os.environ.pop(VARIABLE, None)
    if any(named):
        os.environ[VARIABLE] = ",".join(named)
