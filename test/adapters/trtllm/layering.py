"""Run as a program on a host of its own, `layering.py TABLE`: the layers on tensors of a CPU, against float64.

Prints what it found as JSON: differences, refusals, and what a layer is after it was given back.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from opswap import torch_ops
from opswap.adapters.common.probe import AdapterRefused
from opswap.adapters.trtllm import checkpoint
from opswap.adapters.trtllm.adapter import ADAPTER

HEADS, KV_HEADS, DIM, BLOCK, BLOCKS, LAYERS = 4, 2, 64, 8, 12, 3
NEW, CACHED, REQUESTS = [5, 1, 1], [0, 9, 16], [[3, 7], [1, 5], [0, 8, 2]]


def refused(call: Any) -> str:
    try:
        call()
    except AdapterRefused as error:
        return str(error)
    return ""


def rope_pairs(twice: bool) -> torch.Tensor:
    """TensorRT-LLM's flat table for 64 positions: cosine and sine by turns, the whole of it twice where asked."""
    angles = torch.arange(64)[:, None] / 10000 ** (torch.arange(DIM // 2) * 2 / DIM)
    pairs = torch.stack([angles.cos(), angles.sin()], -1)
    return torch.cat([pairs, pairs], 1).reshape(1, -1) if twice else pairs.reshape(1, -1)


def pool(dtype: torch.dtype = torch.float32) -> torch.Tensor:
    """One pool of all layers: [blocks, layers, 2, kv_heads, tokens, dim], with what was cached before."""
    draw = torch.Generator().manual_seed(3)
    return torch.randn(BLOCKS, LAYERS, 2, KV_HEADS, BLOCK, DIM, generator=draw).to(dtype)


def metadata_of(pages: torch.Tensor, layer: int) -> SimpleNamespace:
    """A step: one prompt and two tokens of running requests. Offsets count the pages of all layers."""
    offsets = torch.zeros(1, len(NEW), 2, 4, dtype=torch.int32)
    for at, blocks in enumerate(REQUESTS):
        offsets[0, at, 0, : len(blocks)] = torch.tensor(blocks) * LAYERS * 2
    cache = pages[:, layer]
    buffers = {"HND": cache, "NHD": cache.view(BLOCKS, 2, BLOCK, KV_HEADS, DIM)}
    manager = SimpleNamespace(get_buffers=lambda index, kv_layout="NHD": buffers[kv_layout], layer_offsets={7: layer})
    return SimpleNamespace(
        is_cuda_graph=False,
        is_cross=False,
        beam_width=1,
        max_seq_len=64,
        kv_layout="HND",
        seq_lens=torch.tensor(NEW, dtype=torch.int32),
        kv_cache_params=SimpleNamespace(num_cached_tokens_per_seq=CACHED),
        kv_cache_block_offsets=offsets,
        host_kv_cache_pool_mapping=torch.tensor([[0, at] for at in range(LAYERS)]),
        kv_cache_manager=manager,
    )


def exact(
    qkv: torch.Tensor, pages: torch.Tensor, layer: int, neox: bool, scale: float = 1, sinks: torch.Tensor | None = None
) -> tuple[torch.Tensor, torch.Tensor]:
    """Output and pages, in float64, token by token; `scale` is that of codes."""
    after, out, token = pages.double() * scale, [], 0
    kept = (lambda x: (x / scale).to(pages.dtype).double() * scale) if pages.itemsize == 1 else (lambda x: x)
    for new, cached, blocks in zip(NEW, CACHED, REQUESTS, strict=True):
        for at in range(cached, cached + new):
            q, k, v = qkv[token].double().split([HEADS * DIM, KV_HEADS * DIM, KV_HEADS * DIM])
            q, k = (rotated(part.view(-1, DIM), at, neox) for part in (q, k))
            block, slot = blocks[at // BLOCK], at % BLOCK
            after[block, layer, 0, :, slot], after[block, layer, 1, :, slot] = kept(k), kept(v.view(KV_HEADS, DIM))
            seen = [(blocks[i // BLOCK], i % BLOCK) for i in range(at + 1)]
            for head in range(HEADS):
                group = head // (HEADS // KV_HEADS)
                keys = torch.stack([after[b, layer, 0, group, s] for b, s in seen])
                values = torch.stack([after[b, layer, 1, group, s] for b, s in seen])
                beside = torch.empty(0) if sinks is None else sinks[head : head + 1]
                scores = torch.cat([keys @ q[head] / DIM**0.5, beside.double()])
                out.append(torch.softmax(scores, 0)[: len(keys)] @ values)
            token += 1
    return torch.stack(out).view(token, HEADS * DIM), after


def rotated(heads: torch.Tensor, position: int, neox: bool) -> torch.Tensor:
    angles = position / 10000 ** (torch.arange(DIM // 2).double() * 2 / DIM)
    pairs = heads.view(-1, 2, DIM // 2).transpose(1, 2) if neox else heads.view(-1, DIM // 2, 2)
    turned = torch.view_as_real(
        torch.view_as_complex(pairs.contiguous()) * torch.polar(torch.ones(DIM // 2).double(), angles)
    )
    return (turned.transpose(1, 2) if neox else turned).reshape(-1, DIM)


def attention(table: str) -> dict:
    found: dict = {}
    for neox in (True, False):
        pages, qkv = (
            pool(),
            torch.randn(sum(NEW), (HEADS + 2 * KV_HEADS) * DIM, generator=torch.Generator().manual_seed(1)),
        )
        wanted, after = exact(qkv, pages, 2, neox)
        layer = layer_of(table, neox)
        out = call(table, layer, qkv.clone(), metadata_of(pages, 2), {})
        found[f"neox={neox}"] = float((out - wanted).abs().max())
        found[f"pages, neox={neox}"] = float((pages - after).abs().max())
    refusals = {
        "graph": {"is_cuda_graph": True},
        "cross": {"is_cross": True},
        "beams": {"beam_width": 4},
    }
    layer = layer_of(table, True)
    for name, changed in refusals.items():
        step = metadata_of(pool(), 2)
        vars(step).update(changed)
        found[name] = refused(lambda step=step: call(table, layer, qkv, step, {}))
    found["window"] = refused(lambda: call(table, layer, qkv, metadata_of(pool(), 2), {"attention_window_size": 8}))
    return found | built_refusals(table) | coded(table, qkv)


def coded(table: str, qkv: torch.Tensor) -> dict:
    """A cache in FP8, and sinks in 16 bits."""
    scale, sinks = 2.0**-3, torch.tensor([0.5, -1, 3, -torch.inf], dtype=torch.bfloat16)
    pages, layer = pool(torch.float8_e4m3fn), layer_of(table, True, has_fp8_kv_cache=True)
    vars(getattr(layer, "attn", layer))["kv_scale_quant_orig"] = torch.tensor([scale])
    wanted, after = exact(qkv, pages, 2, True, scale, sinks)
    out = call(table, layer, qkv.clone(), metadata_of(pages, 2), {"attention_sinks": sinks})
    plain = refused(lambda: call(table, layer, qkv.clone(), metadata_of(pool(), 2), {}))
    return {
        "coded": float((out - wanted).abs().max()),
        "pages, coded": float((pages.double() * scale - after).abs().max()),
        "pages of another dtype": plain,
    }


def layer_of(table: str, neox: bool, **changed: Any) -> Any:
    """A layer as the engine builds it, taken over."""
    rope = SimpleNamespace(max_positions=64, dim=DIM, scale_type=0)
    named = {
        "layer_idx": 7,
        "num_heads": HEADS,
        "num_kv_heads": KV_HEADS,
        "head_dim": DIM,
        "is_mla_enable": False,
        "has_fp8_kv_cache": False,
        "sparse_attention_config": None,
        **changed,
    }
    if table == "main":
        from opswap.adapters.trtllm.layers.attention_fmha import OpswapFmha

        more = {"position_embedding_type": 2 if neox else 1, "rope_scale_type": 0, "rope_dim": DIM, "q_scaling": 1.0}
        made = {"rope_params": rope, "rotary_cos_sin": rope_pairs(False), "local_layer_idx": 2, **more, **named}
        attn = SimpleNamespace(**made)
        return OpswapFmha(attn) if OpswapFmha.is_available(attn) else "stock"
    from opswap.adapters.trtllm.layers import attention_class as ours

    attn = ours.TrtllmAttention.__new__(ours.TrtllmAttention)
    more = {"position_embedding_type": 2 if neox else 1, "rotary_embedding_dim": DIM, "rotary_embedding_scale_type": 0}
    attn.wrapper = SimpleNamespace(rope_params=rope, rotary_cos_sin=rope_pairs(True), q_scaling=1.0, **more)
    vars(attn).update(named, get_local_layer_idx=lambda metadata: 2)
    holder = torch.nn.Module()
    holder.attn = attn
    ours.take_over(holder)
    return attn


def call(table: str, layer: Any, qkv: torch.Tensor, metadata: Any, asked: dict) -> torch.Tensor:
    if table == "1.2":
        return layer.forward(qkv, None, None, metadata, **asked)
    from opswap.adapters.trtllm.layers.attention_fmha import ASKING

    out = torch.empty(qkv.shape[0], HEADS * DIM)
    named = {"output": out, "attention_mask": "causal", "update_kv_cache": True, "attention_window_size": 64}
    args = SimpleNamespace(**{**dict.fromkeys((*ASKING, "attention_sinks")), **named, **asked})
    assert layer.is_supported(qkv, None, None, metadata, args)
    layer.forward(qkv, None, None, metadata, args)
    return out


def built_refusals(table: str) -> dict:
    found = {}
    for name in ("is_mla_enable", "has_fp4_kv_cache"):
        found[name] = refused(lambda name=name: layer_of(table, True, **{name: True}))
    os.environ["OPSWAP_TRTLLM_STOCK"] = "1"
    kept = layer_of(table, True, is_mla_enable=True)
    found["kept"] = [kept if kept == "stock" else type(kept).__name__, sorted(ADAPTER.state.bypassed)]
    del os.environ["OPSWAP_TRTLLM_STOCK"]
    return found


def linear() -> dict:
    from opswap.adapters.trtllm.layers import linear as ours

    draw = torch.Generator().manual_seed(5)
    found: dict = {}
    x = torch.randn(6, 200, generator=draw).to(torch.bfloat16)
    plain = ours.Linear(200, 256, bias=True, dtype=torch.bfloat16)
    coded = ours.Linear(200, 256, dtype=torch.bfloat16, quant_config="fp8")
    model = torch.nn.ModuleList([plain, coded])
    for layer in model:
        layer.create_weights()
    ours.take_over(model)
    weight = torch.randn(256, 200, generator=draw)
    plain.load_weights([{"weight": weight}])
    found["linear"] = error(plain(x), x.double() @ plain.weight.double().T)
    codes, scales = weight.to(torch.float8_e4m3fn), torch.rand(2, 2, generator=draw)
    coded.load_weights([{"weight": codes, "weight_scale_inv": scales}])
    spread = scales.repeat_interleave(128, 0).repeat_interleave(128, 1)[:256, :200]
    found["buffer"] = refused(lambda: plain.quant_method.apply(plain, x, None, output_buffer_kind=1))
    found["fp8"] = error(coded(x), x.double() @ (codes.double() * spread).T)
    parts = [{"weight": torch.zeros(rows, 200), "weight_scale_inv": torch.ones(2, 2)} for rows in (192, 64)]
    found["parts"] = refused(lambda: coded.load_weights(parts))
    coded.weight_scale = torch.nn.Parameter(torch.ones(1, 5), requires_grad=False)
    found["laid out"] = refused(lambda: coded.quant_method.post_load_weights(coded))
    ours.give_back(model)
    found["given back"] = [type(layer.quant_method).__name__ for layer in model]
    return found


def error(found: torch.Tensor, wanted: torch.Tensor) -> float:
    return float(((found.double() - wanted).abs() / (1 + wanted.abs())).max())


def checkpoints(folder: Path) -> dict:
    """Of a folder with one checkpoint per layout, made by the test."""
    from tensorrt_llm._torch.models import modeling_utils as registry

    checkpoint.register(["LlamaForCausalLM"])
    loader = registry.CHECKPOINT_LOADER_FORMAT_DEFAULT_MAPPING["OPSWAP"]()
    found = {
        place.name: refused(lambda place=place: loader.load_config(str(place))) for place in sorted(folder.iterdir())
    }
    mapper = loader.get_initialized_weight_mapper("LlamaForCausalLM", None)
    wrong = {"a.weight": torch.zeros(256, 200), "a.weight_scale_inv": torch.zeros(256, 1)}
    found["scales"] = refused(lambda: mapper.filter_weights("a", wrong))
    right = {"a.weight": torch.zeros(256, 200), "a.weight_scale_inv": torch.zeros(2, 2), "b.weight": torch.zeros(1)}
    found["right"] = sorted(mapper.filter_weights("a", right))
    return found


def libraries() -> dict:
    """The registry of main, with what a user may have set."""
    from opswap.adapters.trtllm.layers import attention_fmha as ours

    found: dict = {}
    for setting in ("", "+prims_ts", "opswap,fallback", "fallback", "-opswap"):
        os.environ.pop(ours.VARIABLE, None)
        if setting:
            os.environ[ours.VARIABLE] = setting
        said = refused(lambda: ours.install(None))
        found[setting] = said or [os.environ[ours.VARIABLE], list(ours.FMHA_LIBS)]
        ours.remove()
        found[f"{setting} removed"] = [os.environ.get(ours.VARIABLE), list(ours.FMHA_LIBS)]
    return found


if __name__ == "__main__":
    torch_ops.register()
    which = sys.argv[1]
    told = {"attention": attention(which), "linear": linear(), "checkpoints": checkpoints(Path(sys.argv[2]))}
    if which == "main":
        told["libraries"] = libraries()
    print("FOUND " + json.dumps(told))
