"""A step of the attention backend on made-up numbers: its layer, cache and metadata, and what is right in float64.

Keys and values are codes of e4m3 times powers of two, and each head of a token holds the largest code, so that every
kind of FP8 cache holds them without loss.
"""

from __future__ import annotations

from types import SimpleNamespace

import torch
from opswap.adapters.vllm.layers.attention import OpswapBackend, OpswapImpl, OpswapMetadataBuilder

HEADS, KV_HEADS, SIZE, BLOCK = 6, 2, 64, 16
#: Rows of the block table, and blocks of each.
MOST_SEQUENCES, ROW = 8, 20
LARGEST = 448.0
#: Of each head.
K_SCALES, V_SCALES = torch.tensor([2.0**-9, 2.0**-7]), torch.tensor([2.0**-8, 2.0**-10])
#: What a test calls a kind of cache: --kv-cache-dtype, and whether the layer has a scale per head.
KINDS = {
    "plain": ("auto", False),
    "tensor": ("fp8", False),
    "head": ("fp8_e4m3", True),
    "token": ("fp8_per_token_head", False),
}


class Step:
    """One layer. forward() writes its sequences of `lens` tokens, the last `new` of each in a step of its own."""

    def __init__(self, kind: str, dtype: torch.dtype, device: str, window: int | None = None, sinks=None) -> None:
        name, per_head = KINDS[kind]
        self.k_scales, self.v_scales = (K_SCALES, V_SCALES) if per_head else (K_SCALES[:1], V_SCALES[:1])
        self.dtype, self.window, self.sinks = dtype, window, sinks
        self.random = torch.Generator().manual_seed(11)
        self.impl = OpswapImpl(
            HEADS, SIZE, SIZE**-0.5, KV_HEADS, None, window, name, sinks=sinks, kv_sharing_target_layer_name=None
        )
        self.impl.process_weights_after_loading(dtype)
        # vLLM keeps a scale of all heads in no dimension.
        kept = [scales if per_head else scales[0] for scales in (self.k_scales, self.v_scales)]
        self.layer = SimpleNamespace(impl=self.impl, _k_scale=kept[0], _v_scale=kept[1])
        self.builder = builder(self.layer, device)
        self.cache = empty_cache(kind, name, dtype)

    def run(self, lens: list[int], new: list[int]) -> tuple[torch.Tensor, torch.Tensor]:
        """The rows of the new tokens, and what is right, both [T, QH, D] float64."""
        keys, values = self.numbers(lens, self.k_scales), self.numbers(lens, self.v_scales)
        old = [n - m for n, m in zip(lens, new, strict=True)]
        self.forward(keys, values, old, old)
        query, out = self.forward(keys, values, lens, new)
        return out.double(), self.right(query.double(), keys, values, lens, new)

    def numbers(self, lens: list[int], scales: torch.Tensor) -> list[torch.Tensor]:
        """Of each sequence [tokens, KH, D]."""
        codes = [torch.randn(n, KV_HEADS, SIZE, generator=self.random) * 120 for n in lens]
        for of in codes:
            of.clamp_(-LARGEST, LARGEST)[..., 0] = LARGEST
        return [of.to(torch.float8_e4m3fn).float() * scales.view(-1, 1) for of in codes]

    def forward(self, keys, values, lens: list[int], new: list[int]) -> tuple[torch.Tensor, torch.Tensor]:
        """The query that was made up, and the output; a graph's padding stands behind both."""
        tokens, padding = sum(new), 3
        query = torch.randn(tokens + padding, HEADS, SIZE, generator=self.random).to(self.dtype)
        out = torch.full_like(query, torch.nan)
        self.meta = self.builder.build(0, common_of(lens, new))
        written = (newest(all_, lens, new, padding).to(self.dtype) for all_ in (keys, values))
        self.impl.forward(self.layer, query, *written, self.cache, self.meta, out)
        return query[:tokens], out[:tokens]

    def right(self, query, keys, values, lens: list[int], new: list[int]) -> torch.Tensor:
        rows, at = [], 0
        for row, (n, m) in enumerate(zip(lens, new, strict=True)):
            k, v = (all_[row].double().repeat_interleave(HEADS // KV_HEADS, 1) for all_ in (keys, values))
            for position in range(n - m, n):
                seen = slice(max(0, position + 1 - (self.window or n)), position + 1)
                scores = torch.einsum("hd,nhd->hn", query[at], k[seen]) * SIZE**-0.5
                beside = [] if self.sinks is None else [self.sinks.double()[:, None]]
                share = torch.cat([scores, *beside], 1).softmax(1)[:, : scores.shape[1]]
                rows.append(torch.einsum("hn,nhd->hd", share, v[seen]))
                at += 1
        return torch.stack(rows)


def newest(of_each: list[torch.Tensor], lens: list[int], new: list[int], padding: int) -> torch.Tensor:
    """The new tokens' keys or values, with those of a graph's padding behind them."""
    rows = [of[n - m : n] for of, n, m in zip(of_each, lens, new, strict=True)]
    return torch.cat([*rows, torch.zeros(padding, KV_HEADS, SIZE)])


def empty_cache(kind: str, name: str, dtype: torch.dtype) -> torch.Tensor:
    """As vLLM makes one of the layer's spec: [blocks, KH, block_size, content], FP8 as bytes."""
    from vllm.v1.kv_cache_interface import FullAttentionSpec, get_kv_quant_mode

    stored = dtype if kind == "plain" else torch.uint8
    spec = FullAttentionSpec(
        block_size=BLOCK, num_kv_heads=KV_HEADS, head_size=SIZE, dtype=stored, kv_quant_mode=get_kv_quant_mode(name)
    )
    content = OpswapBackend.customize_spec(spec).state_content_size_bytes
    return torch.zeros(MOST_SEQUENCES * ROW, KV_HEADS, BLOCK, content // stored.itemsize, dtype=stored)


def builder(layer: SimpleNamespace, device: str) -> OpswapMetadataBuilder:
    config = SimpleNamespace(
        parallel_config=SimpleNamespace(rank=0),
        compilation_config=SimpleNamespace(static_forward_context={"layer": layer}),
        scheduler_config=SimpleNamespace(max_num_seqs=MOST_SEQUENCES),
    )
    return OpswapMetadataBuilder(None, ["layer"], config, torch.device(device))


def common_of(lens: list[int], new: list[int]) -> SimpleNamespace:
    """What the builder reads of vLLM's metadata, the blocks of the sequences scattered."""
    table = torch.arange(len(lens) * ROW, dtype=torch.int32).view(len(lens), ROW).flip(0, 1)
    slots = [
        int(table[row, at // BLOCK]) * BLOCK + at % BLOCK
        for row, (n, m) in enumerate(zip(lens, new, strict=True))
        for at in range(n - m, n)
    ]
    starts = torch.tensor([0, *new], dtype=torch.int32).cumsum(0).to(torch.int32)
    return SimpleNamespace(
        num_actual_tokens=sum(new),
        max_query_len=max(new),
        query_start_loc=starts,
        seq_lens=torch.tensor(lens, dtype=torch.int32),
        block_table_tensor=table,
        slot_mapping=torch.tensor(slots),
        causal=True,
    )
