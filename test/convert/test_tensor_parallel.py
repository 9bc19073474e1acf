"""Files for ranks against numpy's slices of the checkpoint that the same conversion makes for one."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
from convert.checkpoint import opswap, read, write

BF16 = np.dtype(ml_dtypes.bfloat16)
HIDDEN, HEADS, KV, HEAD, INNER, VOCAB, LAYERS = 256, 4, 2, 128, 1024, 250, 2
CONFIG = {
    "architectures": ["LlamaForCausalLM"],
    "num_hidden_layers": LAYERS,
    "num_attention_heads": HEADS,
    "num_key_value_heads": KV,
    "hidden_size": HIDDEN,
    "head_dim": HEAD,
    "intermediate_size": INNER,
    "vocab_size": VOCAB,
    "attention_bias": True,
}
ATTENTION = ["_q_scale", "_k_scale", "_v_scale", "_prob_scale"]


def shapes(config: dict) -> dict[str, tuple[int, ...]]:
    hidden, inner, head = config["hidden_size"], config["intermediate_size"], config["head_dim"]
    rows, kv = config["num_attention_heads"] * head, config["num_key_value_heads"] * head
    made: dict[str, tuple[int, ...]] = {"model.embed_tokens.weight": (VOCAB, hidden), "model.norm.weight": (hidden,)}
    for i in range(config["num_hidden_layers"]):
        at = f"model.layers.{i}."
        for leaf, high in [("q_proj", rows), ("k_proj", kv), ("v_proj", kv)]:
            made[f"{at}self_attn.{leaf}.weight"] = (high, hidden)
            if config.get("attention_bias"):
                made[f"{at}self_attn.{leaf}.bias"] = (high,)
        made[f"{at}self_attn.o_proj.weight"] = (hidden, rows)
        if config.get("attention_bias"):
            made[f"{at}self_attn.o_proj.bias"] = (hidden,)
        if config["architectures"] == ["Qwen3ForCausalLM"]:
            made[f"{at}self_attn.q_norm.weight"] = made[f"{at}self_attn.k_norm.weight"] = (head,)
        made[f"{at}mlp.gate_proj.weight"] = made[f"{at}mlp.up_proj.weight"] = (inner, hidden)
        made[f"{at}mlp.down_proj.weight"] = (hidden, inner)
        made[f"{at}input_layernorm.weight"] = made[f"{at}post_attention_layernorm.weight"] = (hidden,)
    return made


def checkpoint(folder: Path, dtype: np.dtype = BF16, drop: str = "", **changes: object) -> Path:
    """In three files, cut where it hurts: parts of one fused matrix are in different ones."""
    config = {**CONFIG, **changes}
    rng = np.random.default_rng(7)
    made = shapes(config) | ({} if config.get("tie_word_embeddings") else {"lm_head.weight": (VOCAB, HIDDEN)})
    tensors = {n: (rng.standard_normal(s) * rng.uniform(0.02, 1)).astype(dtype) for n, s in made.items() if n != drop}
    folder.mkdir(parents=True)
    names = list(tensors)
    cuts = [0, names.index("model.layers.0.self_attn.k_proj.weight"), len(names) // 2 + 3, len(names)]
    index = {}
    for i, (begin, end) in enumerate(itertools.pairwise(cuts)):
        file = f"model-{i + 1:05}-of-00003.safetensors"
        write(folder / file, {name: tensors[name] for name in names[begin:end]})
        index |= dict.fromkeys(names[begin:end], file)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": index}))
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def done(*args: object) -> None:
    ran = opswap(*args, "--quiet")
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "", "")


def all_of(folder: Path, pattern: str = "*.safetensors") -> dict[str, np.ndarray]:
    tensors: dict[str, np.ndarray] = {}
    for file in sorted(folder.glob(pattern)):
        found = read(file)[0]
        assert not set(found) & set(tensors)
        tensors |= found
    return tensors


def ranks_share(whole: dict[str, np.ndarray], rank: int, ranks: int, kv: int) -> dict[str, np.ndarray]:
    """What vLLM's loader of an unsharded checkpoint gives a rank."""

    def rows(x: np.ndarray, shares: int) -> np.ndarray:
        return np.split(x, shares)[rank * shares // ranks]

    def embedding(x: np.ndarray) -> np.ndarray:
        return rows(np.concatenate([x, np.zeros((-len(x) % 64, *x.shape[1:]), x.dtype)]), ranks)

    parts: dict[str, list[np.ndarray]] = {}
    for name in sorted(whole, key=lambda n: ("q_proj" not in n, "k_proj" not in n, "gate" not in n)):
        x = whole[name]
        module = name.split(".")[-2]
        if module in ("q_proj", "gate_proj", "up_proj"):
            piece = rows(x, ranks)
        elif module in ("k_proj", "v_proj"):
            piece = rows(x, min(ranks, kv))
        elif module in ("o_proj", "down_proj") and x.ndim == 2:
            piece = np.split(x, ranks, axis=1)[rank]
        else:
            piece = embedding(x) if module in ("embed_tokens", "lm_head") else x
        fused = "qkv_proj" if module in ("q_proj", "k_proj", "v_proj") else "gate_up_proj"
        fuses = fused == "qkv_proj" or module in ("gate_proj", "up_proj")
        parts.setdefault(name.replace(module, fused) if fuses else name, []).append(piece)
    return {name: np.concatenate(pieces) for name, pieces in parts.items()}


def check(folder: Path, source: Path, ranks: int, *options: str) -> dict:
    done(source, folder / "whole", *options)
    done(source, folder / f"cut{ranks}", *options, "--tensor-parallel", ranks)
    whole = all_of(folder / "whole")
    config = json.loads((folder / "whole/config.json").read_text())
    assert json.loads((folder / f"cut{ranks}/config.json").read_text()) == config
    scales = [*ATTENTION, *(s[1:] for s in ATTENTION if "quantization_config" in config)]
    for rank in range(ranks):
        got = all_of(folder / f"cut{ranks}", f"model-rank-{rank}-part-*.safetensors")
        for i in range(LAYERS):
            for name in scales:
                one = got.pop(f"model.layers.{i}.self_attn.attn.{name}")
                assert one.shape == () and float(one) == (1 if name[0] == "_" else -1)
        expected = ranks_share(whole, rank, ranks, config["num_key_value_heads"])
        if config.get("tie_word_embeddings"):
            expected["lm_head.weight"] = expected.pop("model.embed_tokens.weight")
        assert set(got) == set(expected)
        for name, x in expected.items():
            assert (got[name].dtype, got[name].shape) == (x.dtype, x.shape), name
            assert got[name].tobytes() == x.tobytes(), name
    return config


@pytest.mark.parametrize("ranks", [1, 2, 4])
@pytest.mark.parametrize("to", ["bf16", "fp8_block128"])
def test_each_rank_has_its_slices_and_nothing_else(to, ranks, tmp_path):
    """With 4 ranks, 2 heads of keys and values serve 2 ranks each; 250 words are padded to 256."""
    config = check(tmp_path, checkpoint(tmp_path / "source"), ranks, "--to", to)
    assert ("quantization_config" in config) == (to == "fp8_block128")


@pytest.mark.parametrize("to", ["bf16", "fp8_block128"])
def test_rounded_sources_and_other_families(to, tmp_path):
    changes = {"architectures": ["Qwen3ForCausalLM"], "attention_bias": False, "tie_word_embeddings": True}
    check(tmp_path, checkpoint(tmp_path / "source", np.dtype(np.float32), **changes), 2, "--to", to)


def test_what_does_not_end_on_a_border_is_kept_and_said(tmp_path):
    source = checkpoint(tmp_path / "source", intermediate_size=640)
    plan = json.loads(opswap("plan", source, "--tensor-parallel", 2, "--json").stdout)
    by_name = {one["name"]: one for one in plan["tensors"]}
    assert by_name["model.layers.0.mlp.up_proj.weight@1"]["why"] == (
        "each of 2 ranks has 320 rows of gate_proj, no whole blocks of 128 (gate_proj, up_proj)"
    )
    assert "320 columns" in by_name["model.layers.1.mlp.down_proj.weight@0"]["why"]
    assert by_name["model.layers.1.self_attn.k_proj.weight@0"]["output_dtype"] == "F8_E4M3"
    assert [one for one in plan["constraints"] if one["engine"] == "vLLM"] == []
    done(source, tmp_path / "cut", "--tensor-parallel", 2)
    kept = json.loads((tmp_path / "cut/config.json").read_text())["quantization_config"]["modules_to_not_convert"]
    assert "model.layers.0.mlp.gate_proj" in kept and "model.layers.0.self_attn.q_proj" not in kept


def test_inspect_diff_and_verify_know_them(tmp_path):
    source = checkpoint(tmp_path / "source")
    cut = tmp_path / "cut"
    done(source, cut, "--tensor-parallel", 2)
    found = json.loads(opswap("inspect", cut, "--json").stdout)
    assert {one["metadata"]["opswap.rank"] for one in found["files"]} == {"0 of 2", "1 of 2"}
    assert [one["shape"] for one in found["tensors"] if "0.self_attn.qkv_proj.weight@1" in one["name"]] == [[512, 256]]
    assert json.loads(opswap("diff", cut, cut, "--json").stdout)["entries"] == []
    refused = json.loads(opswap(cut, tmp_path / "again", "--json").stdout)
    assert refused["code"] == "OPSWAP_E_CANNOT_CONVERT" and "cut for ranks already" in refused["message"]
    done("verify", source, cut)
    file = cut / "model-rank-1-part-0.safetensors"
    data = bytearray(file.read_bytes())
    start = 8 + int.from_bytes(data[:8], "little")
    where = json.loads(data[8:start])
    for name, said in [
        ("model.embed_tokens.weight", "embed_tokens.weight differs"),  # its last bytes are padding
        ("model.layers.0.self_attn.qkv_proj.weight", "1 bytes differ"),
    ]:
        damaged = bytearray(data)
        damaged[start + where[name]["data_offsets"][1] - 1] ^= 1
        file.write_bytes(damaged)
        ran = opswap("verify", source, cut, "--json")
        assert ran.returncode == 1 and said in ran.stdout


@pytest.mark.parametrize(
    ("changes", "options", "said"),
    [
        ({}, ["--tensor-parallel", 3], "4 attention heads are not shared out by 3"),
        ({"num_key_value_heads": 3}, ["--tensor-parallel", 2], "3 key and value heads"),
        ({"architectures": ["GemmaForCausalLM"]}, ["--tensor-parallel", 2], "GemmaForCausalLM is none of"),
        ({}, ["--tensor-parallel", 2, "--to", "fp8_tensor"], "fp8_tensor was never seen loaded"),
        ({"drop": "model.layers.1.mlp.up_proj.weight"}, ["--tensor-parallel", 2], "up_proj.weight, which config.json"),
        ({"tie_word_embeddings": True, "drop": "model.norm.weight"}, ["--tensor-parallel", 2], "model.norm.weight"),
    ],
)
def test_what_vllm_would_not_load_is_refused(changes, options, said, tmp_path):
    refused = json.loads(
        opswap(checkpoint(tmp_path / "source", **changes), tmp_path / "out", *options, "--json").stdout
    )
    assert refused["code"] == "OPSWAP_E_CANNOT_CONVERT" and said in refused["message"]


def test_shapes_that_the_loader_would_only_warn_of_are_refused(tmp_path):
    source = checkpoint(tmp_path / "source")
    for change, said in [
        ({"head_dim": 64}, "q_proj.weight has 512 rows, and config.json means 256"),
        ({"vocab_size": 256}, "embed_tokens.weight has 250 rows, and config.json means 256"),
        ({"attention_bias": False}, "vLLM's model has no parameter for model.layers.0.self_attn.q_proj.bias"),
    ]:
        (source / "config.json").write_text(json.dumps({**CONFIG, **change}))
        refused = json.loads(opswap(source, tmp_path / "out", "--tensor-parallel", 2, "--json").stdout)
        assert said in refused["message"]
