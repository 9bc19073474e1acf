"""Tiny models as GGUF files, written by the `gguf` package."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from gguf import GGMLQuantizationType as Type
from gguf import GGUFWriter, quants
from gguf.constants import GGML_QUANT_SIZES

HIDDEN, FFN, HEADS, KV_HEADS, LAYERS, VOCABULARY = 256, 512, 4, 2, 2, 96
HEAD_NORMS = ("attn_q_norm", "attn_k_norm")
FOUR_NORMS = ("post_attention_norm", "post_ffw_norm")
TYPES = (Type.Q4_0, Type.Q4_1, Type.Q8_0, Type.Q4_K, Type.Q6_K, Type.F16, Type.F32, Type.BF16, Type.Q5_0, Type.Q5_K)


def group_bytes(kind: Type, groups: int, rng: np.random.Generator) -> np.ndarray:
    """Random groups whose scales are ordinary halves: any other bits are a weight of some size."""
    _, size = GGML_QUANT_SIZES[kind]
    data = rng.integers(0, 256, (groups, size), dtype=np.uint8)
    halves = {Type.Q4_0: (0,), Type.Q5_0: (0,), Type.Q8_0: (0,), Type.Q6_K: (208,)}.get(kind, (0, 2))
    for at in halves:
        scale = (rng.standard_normal(groups) * 0.01).astype(np.float16)
        data[:, at : at + 2] = scale.view(np.uint8).reshape(groups, 2)
    return data


def stored(kind: Type, shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    """A tensor as the file stores it."""
    if kind in (Type.F32, Type.F16):
        return (rng.standard_normal(shape) * 0.1).astype(np.float32 if kind == Type.F32 else np.float16)
    if kind == Type.BF16:
        return quants.quantize((rng.standard_normal(shape) * 0.1).astype(np.float32), Type.BF16)
    elements, size = GGML_QUANT_SIZES[kind]
    groups = int(np.prod(shape)) // elements
    return group_bytes(kind, groups, rng).reshape(*shape[:-1], shape[-1] // elements * size)


def nothing(_writer: GGUFWriter) -> None:
    pass


def write_model(
    file: Path,
    architecture: str,
    *,
    head_dim: int = 64,
    tied: bool = True,
    kinds: tuple[Type, ...] = TYPES,
    vocabulary: int = VOCABULARY,
    more: Callable[[GGUFWriter], None] = nothing,
) -> None:
    """A model of an architecture with random weights of all the types in turn; `more` adds metadata."""
    rng = np.random.default_rng(17)
    writer = GGUFWriter(file, architecture)
    more(writer)
    writer.add_context_length(512)
    writer.add_embedding_length(HIDDEN)
    writer.add_block_count(LAYERS)
    writer.add_feed_forward_length(FFN)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KV_HEADS)
    writer.add_layer_norm_rms_eps(1e-6)
    writer.add_rope_freq_base(10000.0)
    writer.add_vocab_size(vocabulary)
    writer.add_key_length(head_dim)
    writer.add_value_length(head_dim)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    if architecture.startswith("gemma"):
        writer.add_sliding_window(64)
    else:
        writer.add_rope_dimension_count(head_dim)
    for i, (name, shape) in enumerate(shapes(architecture, head_dim, tied, vocabulary).items()):
        kind = Type.F32 if len(shape) == 1 else kinds[i % len(kinds)]
        plain = kind in (Type.F32, Type.F16)
        writer.add_tensor(name, stored(kind, shape, rng), raw_dtype=None if plain else kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def shapes(architecture: str, head_dim: int, tied: bool, vocabulary: int) -> dict[str, tuple[int, ...]]:
    """Names and shapes of a model's tensors."""
    gemma, qwen3 = architecture in ("gemma2", "gemma3"), architecture == "qwen3"
    all_: dict[str, tuple[int, ...]] = {"token_embd.weight": (vocabulary, HIDDEN), "output_norm.weight": (HIDDEN,)}
    if not tied:
        all_["output.weight"] = (vocabulary, HIDDEN)
    for layer in range(LAYERS):
        parts: dict[str, tuple[int, ...]] = {
            "attn_norm": (HIDDEN,),
            "attn_q": (HEADS * head_dim, HIDDEN),
            "attn_k": (KV_HEADS * head_dim, HIDDEN),
            "attn_v": (KV_HEADS * head_dim, HIDDEN),
            "attn_output": (HIDDEN, HEADS * head_dim),
            "ffn_norm": (HIDDEN,),
            "ffn_gate": (FFN, HIDDEN),
            "ffn_up": (FFN, HIDDEN),
            "ffn_down": (HIDDEN, FFN),
        }
        if qwen3 or architecture == "gemma3":
            parts |= dict.fromkeys(HEAD_NORMS, (head_dim,))
        if gemma:
            parts |= dict.fromkeys(FOUR_NORMS, (HIDDEN,))
        all_ |= {f"blk.{layer}.{name}.weight": shape for name, shape in parts.items()}
    return all_
