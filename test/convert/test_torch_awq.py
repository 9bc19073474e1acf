"""Folding leaves a model's function as it was, and scales by activations lessen the error of its INT4."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from convert.awq_models import collect, output_of
from convert.checkpoint import opswap
from convert.dequantise import dequantised
from transformers import Gemma3ForCausalLM, Gemma3TextConfig, LlamaConfig, LlamaForCausalLM

SIZES = {
    "vocab_size": 256,
    "hidden_size": 256,
    "intermediate_size": 512,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 64,
    "max_position_embeddings": 256,
    "tie_word_embeddings": False,
}
TOKENS = torch.arange(1, 241).view(4, 60) * 37 % 256


def _model(kind: str):
    """Some channels of every norm are far louder than the rest."""
    torch.manual_seed(3)
    llama = kind == "llama"
    made = LlamaForCausalLM(LlamaConfig(**SIZES)) if llama else Gemma3ForCausalLM(Gemma3TextConfig(**SIZES))
    with torch.no_grad():
        for name, weight in made.named_parameters():
            weight.normal_(0, 0.05)
            if "norm" in name:
                weight.mul_(4).add_(1 if llama else 0)
            if name.endswith(("input_layernorm.weight", "post_attention_layernorm.weight")) or "pre_feed" in name:
                weight[torch.randperm(256)[:6]] = 20
    return made.to(torch.bfloat16).eval()


def _logits(model, weights: dict[str, torch.Tensor]) -> torch.Tensor:
    """In float64."""
    model = model.double()
    model.load_state_dict({name: x.double() for name, x in weights.items()}, strict=True)
    with torch.inference_mode():
        return model(TOKENS).logits


def _folded(plain: dict[str, torch.Tensor], out: dict[str, torch.Tensor], report: dict) -> dict[str, torch.Tensor]:
    """The folded weights before they are quantised, from the norms of the output and the exponents of the report."""
    from convert.test_awq import _floored, _norm, _scales

    folded = {name: x.double() for name, x in plain.items()}
    for group in report["scaled"]:
        name, into = group["from"], group["into"]
        squares = _floored(report["statistics"][f"{into[0]}.mean_square"].numpy())
        step = round(group["alpha"] * 16)
        if plain[name].ndim == 1:
            plus_one = report["plus_one"]
            stored, columns = _norm(plain[name].float().numpy(), _scales(squares, step), plus_one)
            folded[name] = torch.from_numpy(stored.astype("float64"))
            assert torch.equal(folded[name], out[name].double())
        else:
            columns = _by_head(squares, folded[name].shape[0], step)
            rows = columns.reshape(-1, len(squares) // folded[name].shape[0], 64)[:, 0] if "v_proj" in name else columns
            folded[name] /= torch.from_numpy(rows.reshape(-1, 1))
        for reader in into:
            folded[reader] *= torch.from_numpy(columns)
    return folded


def _by_head(squares, channels: int, step: int):
    """A scale for each column; heads that share their values share it."""
    import numpy as np
    from convert.test_awq import _scales

    repeat = len(squares) // channels
    if repeat == 1:
        return _scales(squares, step)
    means = squares.reshape(-1, repeat, 64).mean(1).ravel()
    scales = _scales(means, step).reshape(-1, 1, 64)
    return np.broadcast_to(scales, (scales.shape[0], repeat, 64)).ravel()


@pytest.mark.parametrize("kind", ["llama", "gemma3"])
def test_folding_changes_nothing_and_codes_are_better(tmp_path: Path, kind: str) -> None:
    from safetensors.torch import load_file

    model = _model(kind)
    source, statistics = tmp_path / "source", tmp_path / "statistics.safetensors"
    model.save_pretrained(source)
    collect(model, TOKENS, statistics)
    plain = dequantised(source)
    wanted = _logits(model, plain)
    outputs = {}
    for name, more in {"plain": [], "awq": ["--awq", "--calibration", statistics]}.items():
        ran = opswap(source, tmp_path / name, "--to", "w4a8_g128_vllm", "-q", *more)
        assert (ran.returncode, ran.stderr) == (0, ""), ran.stdout
        outputs[name] = dequantised(tmp_path / name)
    _, report = output_of(tmp_path / "awq")
    report |= {"statistics": load_file(statistics), "plus_one": kind == "gemma3"}
    assert len(report["scaled"]) == 8
    assert any(group["alpha"] > 0 for group in report["scaled"])
    folded = _folded(plain, outputs["awq"], report)
    noise = (_logits(model, folded) - wanted).abs().max() / wanted.abs().max()
    assert noise < 1e-6, "folding alone has changed what the model says"
    for name, x in folded.items():
        error = (outputs["awq"][name].double() - x).square().sum() / x.square().sum()
        assert error < (0.05 if name.endswith("_proj.weight") else 1e-12), name
    losses = {name: (_logits(model, out) - wanted).square().mean() for name, out in outputs.items()}
    assert losses["awq"] < 0.8 * losses["plain"], losses
