"""The attention backend: paged_attention and reshape_and_cache on vLLM's fused K|V cache.

The cache of a layer is [blocks, kv_heads, block_size, 2 * head_size] (vLLM's LBHNC); K and V are views of its last dim,
taken once per layer. The metadata builder runs once per step and cache group, so it also marks the step boundary.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from opswap.adapters.common.functional import paged_attention, reshape_and_cache
from opswap.adapters.vllm.adapter import ADAPTER

from vllm.v1.attention.backend import (
    AttentionBackend,
    AttentionImpl,
    AttentionMetadata,
    AttentionMetadataBuilder,
    AttentionType,
    CommonAttentionMetadata,
)
from vllm.v1.attention.backends.registry import AttentionBackendEnum, register_backend
from vllm.v1.kv_cache_interface import KVCacheLayout

NAME = "OPSWAP"
HEAD_SIZES = range(32, 257)


@dataclass
class OpswapMetadata(AttentionMetadata):
    """What every layer of one step shares; all tensors are int32 but slot_mapping (int64)."""

    num_tokens: int
    query_start_loc: torch.Tensor
    seq_lens: torch.Tensor
    block_table: torch.Tensor
    slot_mapping: torch.Tensor
    causal: bool


class OpswapMetadataBuilder(AttentionMetadataBuilder[OpswapMetadata]):
    def __init__(self, kv_cache_spec, layer_names, vllm_config, device) -> None:
        super().__init__(kv_cache_spec, layer_names, vllm_config, device)
        self.rank = vllm_config.parallel_config.rank
        # Several cache groups build several times in one step; the group of the first layer speaks for all.
        self.leads = first_attention_layer(vllm_config) in layer_names

    def build(
        self, common_prefix_len: int, common_attn_metadata: CommonAttentionMetadata, fast_build: bool = False
    ) -> OpswapMetadata:
        if self.leads:
            ADAPTER.context.begin_step(self.rank)
        common = common_attn_metadata
        return OpswapMetadata(
            common.num_actual_tokens,
            common.query_start_loc,
            common.seq_lens,
            common.block_table_tensor,
            common.slot_mapping,
            bool(common.causal),
        )


def first_attention_layer(vllm_config) -> str | None:
    """The name of the model's first attention layer, the same on every rank."""
    return next(iter(vllm_config.compilation_config.static_forward_context), None)


def refusal(alibi_slopes, kv_cache_dtype: str, attn_type: str, sinks) -> str | None:
    """Why paged_attention cannot serve such a layer, or None."""
    if attn_type != AttentionType.DECODER:
        return f"attention of type {attn_type!r} (only decoder layers with a paged cache)"
    if alibi_slopes is not None:
        return "ALiBi slopes"
    if sinks is not None:
        return "attention sinks"
    if kv_cache_dtype not in OpswapBackend.supported_kv_cache_dtypes:
        return f"--kv-cache-dtype {kv_cache_dtype} (only {', '.join(OpswapBackend.supported_kv_cache_dtypes)})"
    return None


class OpswapImpl(AttentionImpl[OpswapMetadata]):
    def __init__(
        self,
        num_heads: int,
        head_size: int,
        scale: float,
        num_kv_heads: int | None = None,
        alibi_slopes: list[float] | None = None,
        sliding_window: int | None = None,
        kv_cache_dtype: str = "auto",
        logits_soft_cap: float | None = None,
        attn_type: str = AttentionType.DECODER,
        kv_sharing_target_layer_name: str | None = None,
        sinks: torch.Tensor | None = None,
        **unknown,
    ) -> None:
        reason = refusal(alibi_slopes, kv_cache_dtype, attn_type, sinks)
        if reason is None and any(value is not None for value in unknown.values()):
            reason = f"the arguments {', '.join(sorted(unknown))}"
        if reason is not None:
            raise NotImplementedError(
                f"opswap attention backend: this layer needs {reason}, which paged_attention does not offer; "
                "leave attention to vLLM with OPSWAP_VLLM_SKIP=attention"
            )
        self.num_heads = num_heads
        self.head_size = head_size
        self.scale = float(scale)
        self.num_kv_heads = num_kv_heads or num_heads
        self.kv_cache_dtype = kv_cache_dtype
        self.attn_type = attn_type
        self.sliding_window = -1 if sliding_window is None else int(sliding_window)
        self.softcap = float(logits_soft_cap or 0.0)
        self.shares_cache = kv_sharing_target_layer_name is not None
        self._cache: torch.Tensor | None = None
        self._key_cache: torch.Tensor | None = None
        self._value_cache: torch.Tensor | None = None

    def _views(self, kv_cache: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """K and V of the fused cache; remembered, because the tensor is the same in every step."""
        if self._cache is not kv_cache:
            self._cache = kv_cache
            self._key_cache = kv_cache[..., : self.head_size]
            self._value_cache = kv_cache[..., self.head_size :]
        return self._key_cache, self._value_cache

    def forward(
        self,
        layer,
        query: torch.Tensor,
        key: torch.Tensor | None,
        value: torch.Tensor | None,
        kv_cache: torch.Tensor,
        attn_metadata: OpswapMetadata | None,
        output: torch.Tensor,
        output_scale: torch.Tensor | None = None,
        output_block_scale: torch.Tensor | None = None,
        **_,
    ) -> torch.Tensor:
        """query and output [T, QH, D], key and value [T, KH, D]; writes the step's K and V, then attends."""
        if attn_metadata is None:  # profiling and warm-up run without a cache
            return output.zero_()
        meta = attn_metadata
        key_cache, value_cache = self._views(kv_cache)
        if not self.shares_cache and key is not None:
            reshape_and_cache(key, value, key_cache, value_cache, meta.slot_mapping)
        tokens = meta.num_tokens
        padded = query.shape[0] != tokens
        paged_attention(
            output[:tokens] if padded else output,
            query[:tokens] if padded else query,
            (key_cache, value_cache),
            (meta.block_table, meta.query_start_loc, meta.seq_lens),
            self.scale,
            meta.causal,
            self.sliding_window,
            self.softcap,
        )
        return output


class OpswapBackend(AttentionBackend):
    """`--attention-backend OPSWAP` (or CUSTOM) where the platform honours the flag."""

    # One opaque call per layer instead of two: forward() writes the cache itself.
    forward_includes_kv_cache_update: bool = True
    supported_dtypes: ClassVar[list[torch.dtype]] = [torch.bfloat16, torch.float16, torch.float32]
    supported_kv_cache_dtypes: ClassVar[list[str]] = ["auto", "float16", "bfloat16"]

    @staticmethod
    def get_name() -> str:
        return NAME

    @staticmethod
    def get_impl_cls() -> type[OpswapImpl]:
        return OpswapImpl

    @staticmethod
    def get_builder_cls() -> type[OpswapMetadataBuilder]:
        return OpswapMetadataBuilder

    @classmethod
    def supports_head_size(cls, head_size: int) -> bool:
        return head_size in HEAD_SIZES

    @classmethod
    def supports_sliding_window(cls) -> bool:
        return True

    @classmethod
    def supports_non_causal(cls) -> bool:
        return True

    @classmethod
    def supported_kv_cache_layouts(cls) -> tuple[KVCacheLayout, ...]:
        return (KVCacheLayout.LBHNC,)


class OpswapCpuBackend(OpswapBackend):
    """The same under the name the CPU platform always picks, whatever --attention-backend says."""

    @staticmethod
    def get_name() -> str:
        return "CPU_ATTN"


def install(context) -> None:
    path = f"{__name__}.{OpswapBackend.__qualname__}"
    register_backend(NAME, path)
    register_backend(AttentionBackendEnum.CUSTOM, path)
    if context.on_cpu:
        register_backend(AttentionBackendEnum.CPU_ATTN, f"{__name__}.{OpswapCpuBackend.__qualname__}")
