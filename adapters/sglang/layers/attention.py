"""The attention backend `opswap`: paged_attention and the ops that write its cache, on SGLang's token-major KV pool.

The pool of a layer is [slots, kv_heads, head_size]; seen in pages it is the op's cache by strides alone, for any page
size. The page table is SGLang's slots of each token, of which every page's first is enough.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import torch
from opswap.adapters.common.attention_plans import PlanOf, StepPlans
from opswap.adapters.common.functional import NO_SCALES, Scales, paged_attention, reshape_and_cache, token_pages
from opswap.adapters.common.probe import AdapterRefused
from opswap.adapters.sglang.seams import TABLE

from sglang.srt.arg_groups.choices import add_attention_backend_choices
from sglang.srt.layers.attention.attention_registry import register_attention_backend
from sglang.srt.layers.attention.base_attn_backend import AttentionBackend
from sglang.srt.layers.radix_attention import AttentionType, RadixAttention
from sglang.srt.mem_cache.memory_pool import MHATokenToKVPool

NAME = "opswap"
HEAD_SIZES = range(32, 257)


@dataclass
class Batch:
    """What every layer of one step shares; all tensors are int32. 0 of max_query_len: not known."""

    block_table: torch.Tensor
    query_start_loc: torch.Tensor
    seq_lens: torch.Tensor
    max_query_len: int = 1
    plans: dict[PlanOf, torch.Tensor] = field(default_factory=dict)


def refusal_of_layer(layer: RadixAttention) -> str | None:
    """What paged_attention cannot do for such a layer, or None."""
    told = {
        f"attention of type {layer.attn_type.value!r}": layer.attn_type is not AttentionType.DECODER,
        "cross attention": layer.is_cross_attention,
        f"heads of {layer.qk_head_dim} and {layer.v_head_dim}": not {layer.qk_head_dim, layer.v_head_dim}
        <= set(HEAD_SIZES),
        f"positions of mode {layer.pos_encoding_mode!r}": layer.pos_encoding_mode != "NONE",
        f"logits capped by {layer.logit_capping_method!r}": bool(layer.logit_cap)
        and layer.logit_capping_method != "tanh",
        "local attention in chunks": layer.use_irope,
        "a temperature per position": layer.xai_temperature_len > 0,
    }
    return next((what for what, holds in told.items() if holds), None)


def refusal_of_pool(runner: Any) -> str | None:
    """Why the KV pool is not the op's cache, or None."""
    pool = runner.token_to_kv_pool
    if runner.use_mla_backend:
        return "MLA: take another --attention-backend"
    if type(pool) is not MHATokenToKVPool or pool.kv_cache_layout != "nhd":
        layout = getattr(pool, "kv_cache_layout", "")
        return f"a KV pool {type(pool).__name__} {layout}: take --disable-hybrid-swa-memory where the model slides"
    if pool.dtype not in (runner.dtype, torch.float8_e4m3fn):
        return f"a KV pool of {pool.dtype} for a model of {runner.dtype}: take --kv-cache-dtype auto or fp8_e4m3"
    if pool.is_quantized_kv_cache:
        return "a KV pool with scales of its own: take --kv-cache-dtype auto or, on a GPU, fp8_e4m3"
    slots = pool.get_key_buffer(pool.start_layer or 0).shape[0]
    if slots % runner.page_size:
        return (
            f"a KV pool of {slots} slots in pages of {runner.page_size}: "
            "take a --max-total-tokens that --page-size divides"
        )
    return None


def layers_of(runner: Any) -> dict[str, RadixAttention]:
    return {name: layer for name, layer in runner.model.named_modules() if isinstance(layer, RadixAttention)}


def refusal(runner: Any) -> str | None:
    """Why this engine cannot have the backend, and what to take; None when it can."""
    if not runner.spec_algorithm.is_none():
        return "speculative decoding, whose masks the op does not take: serve without it"
    for name, layer in layers_of(runner).items():
        if what := refusal_of_layer(layer):
            return f"{what} in {name}"
    return refusal_of_pool(runner)


def scales_of(layer: RadixAttention, cache: torch.Tensor) -> Scales:
    """Of an FP8 pool: those of the checkpoint, one for keys and one for values; without them 1."""
    if cache.dtype != torch.float8_e4m3fn or layer.k_scale is None or layer.v_scale is None:
        return NO_SCALES
    return layer.k_scale.view(-1), layer.v_scale.view(-1), None, None


def plan_of(layer: RadixAttention) -> PlanOf:
    # SGLang counts the keys before the query, the op the query too.
    window = -1 if layer.sliding_window_size in (None, -1) else layer.sliding_window_size + 1
    return PlanOf(layer.tp_q_head_num, layer.tp_k_head_num, window)


class OpswapAttnBackend(AttentionBackend):
    def __init__(self, runner: Any) -> None:
        super().__init__()
        if why := refusal(runner):
            raise AdapterRefused(
                f"opswap attention backend: this model needs {why}; or leave attention to SGLang with another "
                f"--attention-backend, or with {TABLE.skip_env}=attention"
            )
        self.page = runner.page_size
        self.device = runner.device
        # By these names SGLang's models and runners reach the pools.
        self.token_to_kv_pool, self.req_to_token_pool = runner.token_to_kv_pool, runner.req_to_token_pool
        self.slots = self.req_to_token_pool.req_to_token
        # A row for each request, and one for padding.
        kinds = (plan_of(layer) for layer in layers_of(runner).values())
        self.plans = StepPlans(kinds, self.slots.shape[0], self.device)
        self.batch: Batch | None = None
        self._captured: Batch | None = None
        self._views: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}

    def init_forward_metadata(self, forward_batch: Any) -> None:
        """Without a graph: as wide as the longest sequence."""
        count, longest, most = forward_batch.batch_size, _longest(forward_batch), 1
        starts = torch.arange(count + 1, dtype=torch.int32, device=self.device)
        if not forward_batch.forward_mode.is_decode_or_idle():
            starts[1:] = torch.cumsum(forward_batch.extend_seq_lens, 0)
            most = max(forward_batch.extend_seq_lens_cpu or [0])
        table = self._pages(forward_batch, longest).to(torch.int32).contiguous()
        self.batch = self._planned(Batch(table, starts, forward_batch.seq_lens.to(torch.int32), most))

    def _planned(self, batch: Batch) -> Batch:
        """With the step's plans. A replay reads those that stand at the captured addresses then."""
        return replace(batch, plans=self.plans.made((batch.query_start_loc, batch.seq_lens), batch.max_query_len))

    def _pages(self, forward_batch: Any, longest: int) -> torch.Tensor:
        first = self.slots[forward_batch.req_pool_indices, : longest : self.page]
        return first if self.page == 1 else first // self.page

    def init_cuda_graph_state(self, max_bs: int, max_num_tokens: int) -> None:
        """Tensors whose addresses a captured decode keeps, for the longest sequences."""
        pages = -(-self.slots.shape[1] // self.page)
        table = torch.zeros((max_bs, pages), dtype=torch.int32, device=self.device)
        starts = torch.arange(max_bs + 1, dtype=torch.int32, device=self.device)
        self._captured = Batch(table, starts, torch.ones(max_bs, dtype=torch.int32, device=self.device))

    def get_cuda_graph_seq_len_fill_value(self) -> int:
        return 1

    def init_forward_metadata_out_graph(self, forward_batch: Any, in_capture: bool = False) -> None:
        """Fills the tensors of `init_cuda_graph_state`, before a capture and before each replay."""
        if not forward_batch.forward_mode.is_decode_or_idle():
            raise AdapterRefused(
                f"opswap attention backend: a graph of {forward_batch.forward_mode} is not offered; "
                "take --disable-cuda-graph"
            )
        count, kept = forward_batch.batch_size, self._captured
        longest = self.slots.shape[1] if in_capture else _longest(forward_batch)
        pages = self._pages(forward_batch, longest)
        kept.block_table[:count, : pages.shape[1]].copy_(pages)
        kept.seq_lens[:count].copy_(forward_batch.seq_lens)
        own = Batch(kept.block_table[:count], kept.query_start_loc[: count + 1], kept.seq_lens[:count])
        self.batch = self._planned(own)

    def _caches(self, layer_id: int) -> tuple[torch.Tensor, torch.Tensor]:
        """K and V of a layer in pages; remembered, because the pool keeps its tensors."""
        if layer_id not in self._views:
            buffers = self.token_to_kv_pool.get_key_buffer(layer_id), self.token_to_kv_pool.get_value_buffer(layer_id)
            self._views[layer_id] = token_pages(buffers[0], self.page), token_pages(buffers[1], self.page)
        return self._views[layer_id]

    def forward_extend(
        self,
        q: torch.Tensor,
        k: torch.Tensor | None,
        v: torch.Tensor | None,
        layer: RadixAttention,
        forward_batch: Any,
        save_kv_cache: bool = True,
        sinks: torch.Tensor | None = None,
        **others: Any,
    ) -> torch.Tensor:
        """q [T, QH * D]; k and v [T, KH, D], written to the cache first unless the model has done that; sinks [QH]."""
        if unknown := sorted(name for name, value in others.items() if value is not None):
            raise AdapterRefused(
                f"opswap attention backend: layer {layer.layer_id} passes {', '.join(unknown)}, which paged_attention "
                "does not offer; take another --attention-backend"
            )
        key_cache, value_cache = self._caches(layer.layer_id)
        scales = scales_of(layer, key_cache)
        if k is not None and save_kv_cache:
            heads = layer.tp_k_head_num
            keys, values = k.view(-1, heads, layer.qk_head_dim), v.view(-1, heads, layer.v_head_dim)
            reshape_and_cache(keys, values, key_cache, value_cache, forward_batch.out_cache_loc, scales)
        query, batch = q.view(-1, layer.tp_q_head_num, layer.qk_head_dim), self.batch
        out = torch.empty((*query.shape[:2], layer.v_head_dim), dtype=q.dtype, device=q.device)
        kind = plan_of(layer)
        paged_attention(
            out,
            query,
            (key_cache, value_cache),
            (batch.block_table, batch.query_start_loc, batch.seq_lens),
            layer.scaling,
            window=kind.sliding_window,
            softcap=layer.logit_cap or 0.0,
            scales=scales,
            sinks=None if sinks is None else sinks.float(),
            plan=batch.plans.get(kind),
            max_query_len=batch.max_query_len,
        )
        return out.view(query.shape[0], -1)

    forward_decode = forward_extend

    def support_triton(self) -> bool:
        """Whether SGLang may use triton kernels around this backend: where there is a device for them."""
        return self.device != "cpu"


def _longest(forward_batch: Any) -> int:
    lengths = forward_batch.seq_lens_cpu if forward_batch.seq_lens_cpu is not None else forward_batch.seq_lens
    return int(lengths.max()) if lengths.numel() else 0


def install(_context) -> None:
    add_attention_backend_choices([NAME])
    register_attention_backend(NAME)(OpswapAttnBackend)
