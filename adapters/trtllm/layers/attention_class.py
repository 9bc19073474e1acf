"""Attention in 1.2: each layer's TrtllmAttention object gets a class of ours, which extends its own.

Its isinstance checks stay true, its metadata is TensorRT-LLM's, and the stock forward is a call of super away.
"""

from __future__ import annotations

from typing import Any

import torch
from opswap.adapters.trtllm.layers import paged
from opswap.adapters.trtllm.refusal import stays
from tensorrt_llm._torch.attention_backend.interface import PredefinedAttentionMask
from tensorrt_llm._torch.attention_backend.trtllm import TrtllmAttention

SEAM = "attention"
#: Arguments of the stock forward that change nothing of what we compute.
HARMLESS = {"attention_input_type", "chunked_prefill_buffer_batch_size", "enable_attn_nvfp4_output"}


class OpswapTrtllmAttention(TrtllmAttention):
    opswap_layer: paged.Layer
    opswap_rotation: tuple[torch.Tensor, torch.Tensor] | None = None

    def forward(
        self, q, k, v, metadata, *args, output=None, attention_window_size=None, attention_sinks=None, **kwargs
    ):
        causal = PredefinedAttentionMask.CAUSAL
        asked = {name: value for name, value in kwargs.items() if name not in HARMLESS}
        if asked.get("attention_mask", causal) == causal:
            asked.pop("attention_mask", None)
        asked |= {f"argument {4 + at} of its forward": value for at, value in enumerate(args)}
        if stays(SEAM, paged.refusal_of_step(metadata, asked, attention_window_size)):
            kwargs |= {"output": output, "attention_window_size": attention_window_size}
            return super().forward(q, k, v, metadata, *args, attention_sinks=attention_sinks, **kwargs)
        layer = self.opswap_layer
        out = q.new_empty((q.shape[0], layer.heads * layer.head_dim)) if output is None else output
        cache = self.pages(metadata)
        table = paged.block_table(metadata, self.get_local_layer_idx(metadata), cache)
        parts, scale = paged.parts(layer, q, k, v), paged.cache_scale(self, cache)
        paged.attend(layer, paged.step_of(metadata), parts, cache, table, self.rotation(), out, scale, attention_sinks)
        return out

    def pages(self, metadata: Any) -> torch.Tensor:
        """1.2 names the pages [tokens, heads] for another backend; its own kernels have [heads, tokens], as here."""
        layer = self.opswap_layer
        pages = metadata.kv_cache_manager.get_buffers(self.layer_idx)
        return pages.flatten(2).unflatten(2, (layer.kv_heads, pages.shape[2], layer.head_dim))

    def rotation(self) -> torch.Tensor | None:
        """Our form of the layer's table, made anew when TensorRT-LLM makes its own longer."""
        if self.opswap_layer.neox is None:
            return None
        table = self.wrapper.rotary_cos_sin
        if self.opswap_rotation is None or self.opswap_rotation[0] is not table:
            positions = self.wrapper.rope_params.max_positions
            self.opswap_rotation = table, paged.cos_sin_cache(table, positions, self.opswap_layer.rotary_dim)
        return self.opswap_rotation[1]


def take_over(model: torch.nn.Module) -> None:
    """Called by the registered model classes, when a model is built."""
    for module in model.modules():
        attention = getattr(module, "attn", None)
        if type(attention) is not TrtllmAttention:
            continue
        wrapper = attention.wrapper
        position_type = wrapper.position_embedding_type
        scaling = wrapper.rotary_embedding_scale_type
        if stays(SEAM, paged.refusal_of_layer(attention, position_type, scaling)):
            continue
        attention.opswap_layer = paged.Layer(
            attention.layer_idx,
            attention.num_heads,
            attention.num_kv_heads,
            attention.head_dim,
            paged.scale_of(attention.head_dim, wrapper.q_scaling),
            paged.NEOX[position_type],
            wrapper.rotary_embedding_dim,
        )
        attention.__class__ = OpswapTrtllmAttention


def give_back(model: torch.nn.Module) -> None:
    """The way back: TensorRT-LLM's own attention in each layer."""
    for module in model.modules():
        attention = getattr(module, "attn", None)
        if type(attention) is OpswapTrtllmAttention:
            attention.__class__ = TrtllmAttention


def install(_context) -> None:
    from opswap.adapters.trtllm import models

    models.on_built(take_over)
