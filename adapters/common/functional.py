"""The ops as functions on tensors of any leading shape, [..., H], which is how engines' layers call them.

They are made of the functions in `ops`, which come from op.json; no layer calls anything else.

Two dimensions, the usual case, take no reshape: a layer is called for every token.
"""

from __future__ import annotations

import torch
from opswap.adapters.common import ops

#: k_scale, v_scale, k_scale_cache, v_scale_cache.
Scales = tuple[torch.Tensor | None, torch.Tensor | None, torch.Tensor | None, torch.Tensor | None]
NO_SCALES: Scales = (None, None, None, None)
#: Of a plan, beside one for each sequence; and the most new tokens of a sequence that decodes.
PLAN_WORDS, MOST_FEW_TOKENS = 597, 8


def gated(op, x: torch.Tensor) -> torch.Tensor:
    """Runs `op(out [T, I], x [T, 2 I])` on x [..., 2 I]."""
    width = x.shape[-1]
    out = torch.empty((*x.shape[:-1], width // 2), dtype=x.dtype, device=x.device)
    if x.dim() == 2:
        op(out, x)
    else:
        op(out.view(-1, width // 2), x.reshape(-1, width))
    return out


def silu_and_mul(x: torch.Tensor) -> torch.Tensor:
    """x [..., 2 I] -> [..., I]."""
    return gated(ops.silu_and_mul, x)


def gelu_tanh_and_mul(x: torch.Tensor) -> torch.Tensor:
    """x [..., 2 I] -> [..., I]."""
    return gated(ops.gelu_tanh_and_mul, x)


def rms_norm(x: torch.Tensor, weight: torch.Tensor, epsilon: float) -> torch.Tensor:
    """x [..., H], a new tensor."""
    if x.dim() == 2:
        out = torch.empty_like(x)
        ops.rms_norm(out, x, weight, epsilon)
        return out
    out = torch.empty(x.shape, dtype=x.dtype, device=x.device)
    hidden = x.shape[-1]
    ops.rms_norm(out.view(-1, hidden), x.reshape(-1, hidden), weight, epsilon)
    return out


def fused_add_rms_norm(
    x: torch.Tensor, residual: torch.Tensor, weight: torch.Tensor, epsilon: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """x and residual [..., H], both updated in place and returned."""
    hidden = x.shape[-1]
    ops.fused_add_rms_norm(x.view(-1, hidden), residual.view(-1, hidden), weight, epsilon)
    return x, residual


def rotary_embedding(
    positions: torch.Tensor,
    query: torch.Tensor,
    key: torch.Tensor | None,
    head_size: int,
    cos_sin_cache: torch.Tensor,
    is_neox: bool,
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """query [..., QH * D] and key [..., KH * D] are rotated in place; both may be slices of one fused projection."""
    if positions.dim() != 1:
        positions = positions.flatten()
    tokens = positions.shape[0]
    ops.rotary_embedding(
        positions,
        query.view(tokens, -1, head_size),
        None if key is None else key.view(tokens, -1, head_size),
        cos_sin_cache,
        is_neox,
    )
    return query, key


def token_pages(slots: torch.Tensor, page: int) -> torch.Tensor:
    """A cache [slots, KH, D] in pages as the ops take it, [pages, KH, page, D]: other strides, the same storage."""
    return slots.view(-1, page, *slots.shape[1:]).transpose(1, 2)


def reshape_and_cache(
    key: torch.Tensor,
    value: torch.Tensor,
    key_cache: torch.Tensor,
    value_cache: torch.Tensor,
    slot_mapping: torch.Tensor,
    scales: Scales = NO_SCALES,
) -> None:
    """key and value [T, KH, D] into the slots of their tokens; `scales` as paged_attention takes them."""
    if key_cache.dtype == torch.float8_e4m3fn:
        ops.reshape_and_cache_fp8(key, value, key_cache, value_cache, slot_mapping, *scales)
    else:
        ops.reshape_and_cache(key, value, key_cache, value_cache, slot_mapping)


def write_tokens(
    key: torch.Tensor,
    value: torch.Tensor,
    key_slots: torch.Tensor,
    value_slots: torch.Tensor,
    slot_mapping: torch.Tensor,
    head_size: int,
) -> None:
    """key and value [T, KH * D] into caches of one token a slot, [slots, KH * D]."""
    tokens, slots = key.shape[0], key_slots.shape[0]
    ops.reshape_and_cache(
        key.view(tokens, -1, head_size),
        value.view(tokens, -1, head_size),
        token_pages(key_slots.view(slots, -1, head_size), 1),
        token_pages(value_slots.view(slots, -1, head_size), 1),
        slot_mapping,
    )


def paged_attention(
    out: torch.Tensor,
    query: torch.Tensor,
    caches: tuple[torch.Tensor, torch.Tensor],
    batch: tuple[torch.Tensor, torch.Tensor, torch.Tensor],
    scale: float,
    causal: bool = True,
    window: int = -1,
    softcap: float = 0.0,
    *,
    scales: Scales = NO_SCALES,
    sinks: torch.Tensor | None = None,
    plan: torch.Tensor | None = None,
    max_query_len: int = 0,
    batch_invariant: bool = False,
) -> None:
    """query and out [T, QH, D]; `caches` are those of K and V, `batch` is block table, query_start_loc and seq_lens,
    `scales` are k_scale, v_scale, k_scale_cache and v_scale_cache of an FP8 cache. With the first two an implementation
    may multiply codes, as the engines' own kernels for Hopper do."""
    ops.paged_attention(
        out,
        None,
        query,
        *caches,
        *batch,
        *scales,
        sinks,
        plan,
        scale,
        max_query_len,
        causal,
        window,
        softcap,
        batch_invariant,
        scales[0] is not None,
    )


def attention_plan(
    memory: torch.Tensor,
    batch: tuple[torch.Tensor, torch.Tensor],
    heads: tuple[int, int],
    window: int = -1,
    max_query_len: int = 0,
    batch_invariant: bool = False,
) -> torch.Tensor:
    """The plan of a step, at the head of `memory` [597 + most sequences] int32: paged_attention takes it with the same
    options. `batch` is query_start_loc and seq_lens, `heads` are those of queries and of keys."""
    starts, lengths = batch
    plan = memory[: PLAN_WORDS + lengths.shape[0]]
    few = not batch_invariant and 1 <= max_query_len <= MOST_FEW_TOKENS
    ops.attention_plan(plan, lengths, starts, *heads, max_query_len if few else 1, window, 0, batch_invariant)
    return plan


def linear(
    x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None, batch_invariant: bool = False
) -> torch.Tensor:
    """x [..., K] times weight [N, K] transposed; batch-invariant: a row has the same bits in every batch."""
    if x.dim() == 2:
        out = torch.empty((x.shape[0], weight.shape[0]), dtype=x.dtype, device=x.device)
        ops.linear(out, x, weight, bias, batch_invariant)
        return out
    out = torch.empty((*x.shape[:-1], weight.shape[0]), dtype=x.dtype, device=x.device)
    ops.linear(out.view(-1, weight.shape[0]), x.reshape(-1, x.shape[-1]), weight, bias, batch_invariant)
    return out


def greedy_sample(logits: torch.Tensor) -> torch.Tensor:
    """logits [B, V] -> token ids [B] int64; ties go to the lower index."""
    token_ids = torch.empty(logits.shape[0], dtype=torch.int64, device=logits.device)
    ops.greedy_sample(token_ids, logits)
    return token_ids


def gumbel_sample(logits: torch.Tensor, seeds: torch.Tensor) -> torch.Tensor:
    """logits [B, V] and seeds [B] int64 -> one draw per row from softmax(logits)."""
    token_ids = torch.empty(logits.shape[0], dtype=torch.int64, device=logits.device)
    ops.gumbel_sample(token_ids, logits, seeds)
    return token_ids


def plain_alias(weight: torch.Tensor) -> torch.Tensor:
    """The same storage as a plain tensor; updates in place of the parameter show in it.

    Engines' parameter classes may hook every torch call from Python, which costs microseconds each.
    """
    return weight.detach().as_subclass(torch.Tensor)
