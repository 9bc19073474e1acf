"""The `framework` implementation of each op: SGLang's own code here (KERNELS), or why there is none (ABSENT).

SGLang's layers are called by their public forward_native, and its attention by the kernels of its backend torch_native,
so what runs is what this version would run.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from types import SimpleNamespace

from opswap.adapters.common import torch_kernels


def _native_norm(x, residual, weight, epsilon):
    from sglang.srt.layers.layernorm import RMSNorm

    layer = SimpleNamespace(
        weight=weight,
        hidden_size=x.shape[-1],
        variance_epsilon=epsilon,
        variance_size_override=None,
        cast_x_before_out_mul=False,
        fp32_residual=False,
        override_orig_dtype=None,
    )
    return RMSNorm.forward_native(layer, x, residual)


def silu_and_mul(out, x) -> None:
    from sglang.srt.layers.activation import SiluAndMul

    out.copy_(SiluAndMul.forward_native(None, x))


def gelu_tanh_and_mul(out, x) -> None:
    from sglang.srt.layers.activation import GeluAndMul

    out.copy_(GeluAndMul.forward_native(SimpleNamespace(approximate="tanh"), x))


def rotary_embedding(positions, query, key, cos_sin_cache, is_neox=True) -> None:
    from sglang.srt.layers.rotary_embedding.base import RotaryEmbedding
    from sglang.srt.layers.rotary_embedding.utils import apply_rotary_emb

    layer = SimpleNamespace(
        cos_sin_cache=cos_sin_cache,
        head_size=query.shape[-1],
        rotary_dim=cos_sin_cache.shape[-1],
        is_neox_style=is_neox,
        _apply_rotary_emb_wrapped=apply_rotary_emb,
    )
    keys = query if key is None else key
    rotated = RotaryEmbedding.forward_native(layer, positions, query.flatten(1), keys.flatten(1))
    query.copy_(rotated[0].view_as(query))
    if key is not None:
        key.copy_(rotated[1].view_as(key))


def reshape_and_cache(key, value, key_cache, value_cache, slot_mapping) -> None:
    """What a KV pool does with the tokens of a step."""
    kept = slot_mapping >= 0
    count = slot_mapping.shape[0]
    for new, cache_ in ((key, key_cache), (value, value_cache)):
        block, offset = slot_mapping[kept] // cache_.shape[2], slot_mapping[kept] % cache_.shape[2]
        cache_[block, :, offset] = new[:count][kept]


@cache
def _torch_native():
    """SGLang's backend torch_native, whose kernels use nothing of an engine."""
    from sglang.srt.layers.attention.torch_native_backend import TorchNativeAttnBackend

    return TorchNativeAttnBackend.__new__(TorchNativeAttnBackend)


def paged_attention(
    out,
    lse,
    query,
    key_cache,
    value_cache,
    block_table,
    query_start_loc,
    seq_lens,
    k_scale,
    v_scale,
    k_scale_cache,
    v_scale_cache,
    sinks,
    _plan,
    softmax_scale,
    _max_query_len=0,
    causal=True,
    sliding_window=-1,
    softcap=0.0,
    batch_invariant=False,
    _fp8_products=False,
) -> None:
    if lse is not None or softcap > 0 or batch_invariant:
        raise NotImplementedError(
            "opswap: SGLang's torch_native has no log-sum-exp, no softcap and no batch_invariant; use cpu"
        )
    beyond = (k_scale, v_scale, k_scale_cache, v_scale_cache, sinks)
    if any(t is not None for t in beyond) or key_cache.dtype != query.dtype:
        raise NotImplementedError("opswap: SGLang's torch_native has no FP8 cache and no sinks; use cpu")
    import torch

    size = key_cache.shape[2]
    slots = (block_table.long()[:, :, None] * size + torch.arange(size, device=block_table.device)).flatten(1)
    counts = query_start_loc[1:] - query_start_loc[:-1]
    keys, values = (c.transpose(1, 2).reshape(-1, c.shape[1], c.shape[3]) for c in (key_cache, value_cache))
    shared = {
        "scaling": softmax_scale,
        "enable_gqa": query.shape[1] != key_cache.shape[1],
        "sliding_window_size": sliding_window - 1 if sliding_window > 0 else None,
    }
    rows = slots, torch.arange(slots.shape[0], device=slots.device), seq_lens.long()
    if bool((counts == 1).all()):
        _torch_native()._run_sdpa_forward_decode(query, out, keys, values, *rows, **shared)
        return
    lengths = (seq_lens - counts).long(), counts.long()
    _torch_native()._run_sdpa_forward_extend(query, out, keys, values, *rows, *lengths, causal=causal, **shared)


KERNELS: dict[str, Callable[..., None]] = {
    **torch_kernels.norms(_native_norm),
    "silu_and_mul": silu_and_mul,
    "gelu_tanh_and_mul": gelu_tanh_and_mul,
    "rotary_embedding": rotary_embedding,
    "reshape_and_cache": reshape_and_cache,
    "paged_attention": paged_attention,
    "linear": torch_kernels.linear,
    "greedy_sample": torch_kernels.greedy_sample,
}

ABSENT: dict[str, str] = {
    "gemm_fp8_block128": "SGLang's kernels for block FP8 need a GPU",
    "gemm_fp8": "SGLang's kernels for FP8 need a GPU or AMX",
    "attention_prefill": "SGLang's torch_native serves the op paged_attention, which composes this one",
    "attention_decode": "SGLang's torch_native serves the op paged_attention, which composes this one",
    "attention_plan": "SGLang's torch_native cuts no sequences",
    "gumbel_sample": "SGLang's own sampler draws from probabilities, not from the seeds that the op takes",
}


def here(on_cpu: bool) -> dict[str, Callable[..., None]]:
    """By op, what differs from the tables on this machine."""
    return {} if on_cpu else {"linear": linear_on_a_card}


def linear_on_a_card(out, x, weight, bias=None, batch_invariant=False) -> None:
    """Under --enable-deterministic-inference torch's products on a card are SGLang's own, the same in every batch."""
    torch_kernels.linear(out, x, weight, bias)
