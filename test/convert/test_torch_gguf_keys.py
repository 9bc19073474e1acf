"""GGUF's metadata: what they say of positions against llama.cpp's formulas, and no key without a fate."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from convert.checkpoint import opswap
from convert.gguf_models import write_model
from gguf import GGUFWriter, RopeScalingType
from gguf.constants import Keys
from transformers import AutoConfig
from transformers.models.gemma3.modeling_gemma3 import Gemma3RotaryEmbedding
from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding

HEAD = 64
CONTEXT = 512


def _config(folder: Path, architecture: str, more: Callable[[GGUFWriter], None]) -> AutoConfig:
    write_model(folder / "m.gguf", architecture, head_dim=HEAD, more=more)
    ran = opswap("run", folder / "m.gguf", folder / "out", "--to", "bf16", "--tokenizer", "none", "-q")
    assert (ran.returncode, ran.stderr) == (0, ""), ran.stdout
    return AutoConfig.from_pretrained(folder / "out")


def _plain(base: float) -> np.ndarray:
    return base ** (-np.arange(0, HEAD, 2) / HEAD)


def _yarn(
    factor: float, original: int, fast: float = 32, slow: float = 1, attention: float = 1
) -> tuple[np.ndarray, float]:
    """ggml's rope with an extrapolation factor of 1, in float64: frequencies, and what cosines are multiplied by."""
    base = 10000.0

    def dimension(rotations: float) -> float:
        return HEAD * math.log(original / (rotations * 2 * math.pi)) / (2 * math.log(base))

    low, high = max(0, math.floor(dimension(fast))), min(HEAD - 1, math.ceil(dimension(slow)))
    ramp = 1 - np.clip((np.arange(HEAD // 2) - low) / max(0.001, high - low), 0, 1)
    extrapolated = _plain(base)
    frequencies = extrapolated / factor * (1 - ramp) + extrapolated * ramp
    return frequencies, (0.1 * math.log(factor) + 1) * attention


def _with_yarn(factor: float, **numbers: float) -> Callable[[GGUFWriter], None]:
    def more(writer: GGUFWriter) -> None:
        writer.add_rope_scaling_type(RopeScalingType.YARN)
        writer.add_rope_scaling_factor(factor)
        for name, value in numbers.items():
            if name == "original":
                writer.add_rope_scaling_orig_ctx_len(int(value))
            else:
                writer.add_float32(f"llama.rope.scaling.{name}", value)

    return more


@pytest.mark.parametrize(
    ("more", "frequencies", "attention"),
    [
        (lambda w: w.add_float32("llama.rope.scale_linear", 2.5), _plain(1e4) / 2.5, 1.0),
        (lambda w: w.add_rope_scaling_factor(4.0), _plain(1e4) / 4, 1.0),
        (_with_yarn(4.0, original=128), *_yarn(4.0, 128)),
        (_with_yarn(8.0), *_yarn(8.0, CONTEXT)),
        (_with_yarn(4.0, original=256, yarn_beta_fast=8, yarn_beta_slow=2), *_yarn(4.0, 256, 8, 2)),
        (_with_yarn(4.0, original=256, attn_factor=0.75), *_yarn(4.0, 256, attention=0.75)),
    ],
    ids=["scale_linear", "factor alone", "yarn", "yarn by context", "yarn's betas", "attn_factor"],
)
def test_positions_are_encoded_as_llama_cpp_does(
    tmp_path: Path, more: Callable[[GGUFWriter], None], frequencies: np.ndarray, attention: float
) -> None:
    rope = LlamaRotaryEmbedding(_config(tmp_path, "llama", more))
    np.testing.assert_allclose(rope.inv_freq.numpy(), frequencies, rtol=2e-6)
    assert rope.attention_scaling == pytest.approx(attention, rel=1e-6)


def test_gemma_has_two_ropes(tmp_path: Path) -> None:
    def more(writer: GGUFWriter) -> None:
        writer.add_float32("gemma3.rope.freq_base_swa", 5000.0)
        writer.add_rope_scaling_factor(8.0)
        writer.add_array("gemma3.attention.sliding_window_pattern", [False, True])

    config = _config(tmp_path, "gemma3", more)
    assert config.layer_types == ["full_attention", "sliding_attention"]
    rope = Gemma3RotaryEmbedding(config)
    np.testing.assert_allclose(rope.full_attention_inv_freq.numpy(), _plain(1e4) / 8, rtol=2e-6)
    np.testing.assert_allclose(rope.sliding_attention_inv_freq.numpy(), _plain(5000.0), rtol=2e-6)


def _keys(of: type) -> Iterator[str]:
    for name, value in vars(of).items():
        if isinstance(value, type):
            yield from _keys(value)
        elif not name.startswith("_"):
            filled = value.replace("{arch}", "llama").replace("{id}", "0").replace("{name}", "tool")
            yield filled.replace("{dense}", "dense_2")


def test_every_key_of_the_gguf_package_has_a_fate(tmp_path: Path) -> None:
    """And a file with all of them is refused, by the name of one that is refused."""
    known = set(_keys(Keys))
    assert len(known) > 200

    def more(writer: GGUFWriter) -> None:
        taken = ("head_count", "_length", "block_count", "freq_base", "_epsilon", "vocab_size", "dimension_count")
        rest = [key for key in known if not (key.startswith("llama.") and key.endswith(taken))]
        for key in set(rest) - {"general.architecture", "general.alignment", "split.count"}:
            if not key.endswith(("bos_token_id", "eos_token_id", "head_count_kv")):
                writer.add_uint32(key, 1)

    write_model(tmp_path / "m.gguf", "llama", more=more)
    found = opswap("inspect", tmp_path / "m.gguf", "--json")
    assert found.returncode == 0, found.stderr
    shown = json.loads(found.stdout)
    fates = {one["key"]: one for one in shown["fates"]}
    assert set(fates) == set(shown["files"][0]["metadata"]) - {"GGUF version"}
    refused = {key for key, one in fates.items() if one["fate"] == "refused"}
    assert {key for key in fates if key.startswith(("clip.", "llama.ssm.", "llama.wkv.", "diffusion."))} <= refused
    assert {"general.name", "tokenizer.ggml.fim_pre_token_id"} & refused == set()
    ran = opswap("plan", tmp_path / "m.gguf", "--tokenizer", "none")
    assert ran.returncode == 2
    assert any(f"metadata {key} " in ran.stderr for key in refused), ran.stderr
