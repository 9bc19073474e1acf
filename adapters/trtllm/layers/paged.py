"""A layer's attention in a step, on TensorRT-LLM's paged cache: rotation, the cache's new entries, paged_attention.

TensorRT-LLM keeps K and V of a layer in pages [blocks, 2, kv_heads, tokens_per_block, head_dim], and one table of pages
for the device; the lengths are worked out on the host, so a CUDA graph, which repeats what the host said, is refused.
Pages in FP8 are e4m3, with one scale for keys and values.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from opswap.adapters.common.functional import NO_SCALES, paged_attention, reshape_and_cache, rotary_embedding
from opswap.adapters.common.paged_cache import slot_mapping
from opswap.adapters.trtllm.refusal import refuse

#: Numbers of tensorrt_llm.functional's PositionEmbeddingType: whether it pairs halves, or None for no rotation.
NEOX = {0: None, 1: False, 2: True}
#: Of its RotaryScalingType: none, linear, llama3, which are all in the table of cosines and sines.
SCALINGS = (0, 1, 4)


@dataclass(frozen=True)
class Layer:
    """What does not change from step to step."""

    index: int
    heads: int
    kv_heads: int
    head_dim: int
    scale: float
    neox: bool | None
    rotary_dim: int


def refusal_of_layer(layer: Any, position_type: int, scaling: int) -> str | None:
    """Why the ops cannot serve such a layer, or None; known when the model is built."""
    sparse = ("sparse_params", "sparse_attention_config")
    rotated = NEOX.get(position_type) is not None
    return _first(
        ("latent attention (MLA)", layer.is_mla_enable),
        ("sparse attention", any(getattr(layer, name, None) is not None for name in sparse)),
        ("a KV cache in FP4", getattr(layer, "has_fp4_kv_cache", False)),
        ("chunked attention", getattr(layer, "attention_chunk_size", None)),
        (f"position embeddings of type {position_type}", position_type not in NEOX),
        (f"rotary scaling of type {scaling}", rotated and scaling not in SCALINGS),
    )


def refusal_of_step(metadata: Any, args: dict[str, Any], window: int | None) -> str | None:
    """Why the ops cannot serve such a step, or None. `args` are what the engine passes besides q, k, v and metadata."""
    asked = sorted(name for name, value in args.items() if value is not None)
    graph = "a CUDA graph, which repeats lengths that the host worked out (set cuda_graph_config: null)"
    return _first(
        (graph, metadata.is_cuda_graph),
        ("attention without a KV cache", metadata.kv_cache_manager is None),
        ("cross attention", metadata.is_cross),
        ("speculative decoding", getattr(metadata, "use_spec_decoding", False)),
        ("beam search", getattr(metadata, "beam_width", 1) != 1),
        (", ".join(asked), asked),
        (f"a window of {window} tokens", window is not None and window < metadata.max_seq_len),
    )


def _first(*reasons: tuple[str, object]) -> str | None:
    return next((reason for reason, holds in reasons if holds), None)


@dataclass(frozen=True)
class Step:
    """One batch: the first token of each sequence, the tokens that it has then, and each token's position."""

    query_start_loc: torch.Tensor
    seq_lens: torch.Tensor
    positions: torch.Tensor


def step_of(metadata: Any) -> Step:
    new = metadata.seq_lens.to(torch.int32).cpu()
    cached = torch.tensor(list(metadata.kv_cache_params.num_cached_tokens_per_seq), dtype=torch.int32)
    starts = torch.zeros(len(new) + 1, dtype=torch.int32)
    starts[1:] = new.cumsum(0)
    first = torch.repeat_interleave(cached - starts[:-1], new)
    return Step(starts, cached + new, (torch.arange(len(first), dtype=torch.int32) + first).to(torch.int64))


def block_table(metadata: Any, local_layer: int, cache: torch.Tensor) -> torch.Tensor:
    """[sequences, blocks] of the cache [blocks, 2, ...]: TensorRT-LLM counts pages of K, V and all layers of a pool."""
    mapping = metadata.host_kv_cache_pool_mapping
    pool = int(mapping[local_layer].reshape(-1)[0])
    pages = metadata.kv_cache_block_offsets[pool, : len(metadata.seq_lens), 0]
    return torch.div(pages, cache.stride(0) // cache.stride(1), rounding_mode="floor").to(torch.int32)


def cos_sin_cache(table: torch.Tensor, positions: int, rotary_dim: int) -> torch.Tensor:
    """[positions, rotary_dim], cosines before sines, from TensorRT-LLM's pairs of both, which it may hold twice."""
    pairs = table.reshape(positions, -1, 2)[:, : rotary_dim // 2]
    return pairs.transpose(1, 2).reshape(positions, rotary_dim).contiguous()


def cache_scale(layer: Any, cache: torch.Tensor) -> torch.Tensor | None:
    """[1], what the codes of an FP8 cache are multiplied by; None of another cache."""
    if not layer.has_fp8_kv_cache:
        return None
    if cache.dtype != torch.float8_e4m3fn:
        refuse("attention", f"an FP8 KV cache whose pages are {cache.dtype}")
    return layer.kv_scale_quant_orig


def attend(
    layer: Layer,
    step: Step,
    qkv: tuple[torch.Tensor, torch.Tensor, torch.Tensor],
    cache: torch.Tensor,
    table: torch.Tensor,
    rotation: torch.Tensor | None,
    out: torch.Tensor,
    scale: torch.Tensor | None,
    sinks: torch.Tensor | None,
) -> None:
    """q [T, QH * D], k and v [T, KH * D] and `out` [T, QH * D]; k and v go to the cache, q is attended with it. `scale`
    as of `cache_scale`; `sinks` [QH] stand in the softmax."""
    q, k, v = qkv
    tokens, device = q.shape[0], q.device
    if layer.neox is not None and rotation is not None:
        rotary_embedding(step.positions.to(device), q, k, layer.head_dim, rotation, layer.neox)
    slots = torch.empty(tokens, dtype=torch.int64)
    block_size = cache.shape[3]
    slot_mapping(step.query_start_loc, step.positions, table.cpu(), slots, block_size)
    keys, values = cache[:, 0], cache[:, 1]
    scales = NO_SCALES if scale is None else (scale, scale, None, None)
    reshape_and_cache(_heads(k, layer), _heads(v, layer), keys, values, slots.to(device), scales)
    whole = (tokens, layer.heads, layer.head_dim)
    batch = (table, step.query_start_loc.to(device), step.seq_lens.to(device))
    sinks = None if sinks is None else sinks.float()
    paged_attention(out.view(whole), q.view(whole), (keys, values), batch, layer.scale, scales=scales, sinks=sinks)


def _heads(part: torch.Tensor, layer: Layer) -> torch.Tensor:
    return part.view(part.shape[0], layer.kv_heads, layer.head_dim)


def parts(layer: Layer, q: torch.Tensor, k: torch.Tensor | None, v: torch.Tensor | None) -> tuple[torch.Tensor, ...]:
    """q, k and v apart, where TensorRT-LLM hands over one fused projection."""
    if k is not None and v is not None:
        return q, k, v
    sizes = [layer.heads * layer.head_dim, *[layer.kv_heads * layer.head_dim] * 2]
    return q.split(sizes, dim=-1)


def scale_of(head_dim: int, q_scaling: float) -> float:
    return 1.0 / (math.sqrt(head_dim) * q_scaling)
