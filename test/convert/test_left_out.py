"""Scales of activations and of the cache are in no output, and the plan names each of them."""

from __future__ import annotations

import json
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
from convert.checkpoint import opswap, read, write

BF16 = ml_dtypes.bfloat16
LAYER = "model.layers.3."
SCALES = {
    "self_attn.o_proj.input_scale": np.float32(0.01).reshape(()),
    "self_attn.q_proj.activation_scale": np.array([0.02], np.float32),
    "self_attn.k_proj.k_scale": np.array([0.5], BF16),
    "self_attn.v_scale": np.array([0.25, 0.5], np.float32),
    "self_attn.attn.kv_scale": np.array([1.5], np.float32),
    "self_attn.q_scale": np.array([2.5], np.float16),
    "self_attn.prob_scale": np.array([0.125], np.float32),
    "self_attn.v_proj.output_scale": np.array([0.75], np.float32),
    "self_attn.o_proj.input_zero_point": np.array([0], np.int8),
    "mlp.experts.down_proj_activation_scale": np.ones(4, np.float32),
}


def _fp8(folder: Path) -> Path:
    folder.mkdir()
    rng = np.random.default_rng(21)
    tensors: dict[str, np.ndarray] = {}
    for name in ("q_proj", "o_proj"):
        weight = f"{LAYER}self_attn.{name}.weight"
        tensors[weight] = (rng.standard_normal((256, 384)) * 30).astype(ml_dtypes.float8_e4m3fn)
        tensors[f"{weight}_scale"] = np.array([0.003], np.float32)
    tensors |= {LAYER + name: scale for name, scale in SCALES.items()}
    write(folder / "model.safetensors", tensors)
    (folder / "config.json").write_text(
        json.dumps({"quantization_config": {"quant_method": "fp8", "activation_scheme": "static"}})
    )
    return folder


@pytest.mark.parametrize("to", ["bf16", "fp8_block128", "fp8_tensor", "ct_fp8_channel"])
def test_no_layout_takes_scales_of_activations_over(tmp_path: Path, to: str) -> None:
    source = _fp8(tmp_path / "source")
    ran = opswap(source, tmp_path / "out", "--to", to, "--quiet")
    assert (ran.returncode, ran.stderr) == (0, "")
    got, _ = read(tmp_path / "out/model.safetensors")
    weights = {f"{LAYER}self_attn.{name}.weight" for name in ("q_proj", "o_proj")}
    assert {name for name in got if not name.startswith(tuple(weights))} == set()
    assert weights <= set(got)


def test_the_plan_names_each_with_its_reason(tmp_path: Path) -> None:
    source = _fp8(tmp_path / "source")
    ran = opswap("plan", source, "--to", "bf16", "--json")
    left = {one["name"]: one for one in json.loads(ran.stdout)["tensors"] if one["action"] == "left out"}
    weight_scales = {f"{LAYER}self_attn.{name}.weight_scale" for name in ("q_proj", "o_proj")}
    assert set(left) == weight_scales | {LAYER + name for name in SCALES}
    assert "the cache of keys and values" in left[f"{LAYER}self_attn.k_proj.k_scale"]["why"]
    assert "inputs" in left[f"{LAYER}self_attn.o_proj.input_scale"]["why"]
    assert all((one["output_dtype"], one["output_bytes"]) == (None, 0) for one in left.values())
    shown = opswap("plan", source, "--to", "bf16").stdout
    for name in left:
        (line,) = [line for line in shown.splitlines() if line.split()[:1] == [name]]
        assert "left out" in line
    assert "2 of 2 tensors to bf16" in shown


def test_a_plain_model_keeps_what_it_learned(tmp_path: Path) -> None:
    tensors = {
        "a.self_attn.k_proj.weight": np.ones((128, 128), BF16),
        "a.self_attn.k_proj.k_scale": np.array([0.5], np.float32),
        "a.self_attn.q_scale": np.full(64, 0.5, BF16),
        "logit_scale": np.array(2.5, BF16),
        "b.layer_scale": np.ones(3, BF16),
    }
    write(tmp_path / "model.safetensors", tensors)
    ran = opswap(tmp_path / "model.safetensors", tmp_path / "out", "--to", "bf16", "--quiet")
    assert (ran.returncode, ran.stderr) == (0, "")
    assert set(read(tmp_path / "out/model.safetensors")[0]) == set(tensors) - {"a.self_attn.k_proj.k_scale"}
