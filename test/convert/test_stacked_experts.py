"""Experts that a checkpoint stacks in one tensor, as Qwen3-VL-MoE and Qwen3.5-MoE ship them, become single ones."""

from __future__ import annotations

import json
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
from convert.checkpoint import fp8_block128, opswap, read, write

EXPERTS, INNER, HIDDEN = 3, 256, 512
LAYER = "model.language_model.layers.0.mlp"


def _source(folder: Path, architecture: str, shapes: dict[str, tuple[int, ...]]) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    tensors = {name: (rng.standard_normal(shape) * 0.05).astype(ml_dtypes.bfloat16) for name, shape in shapes.items()}
    folder.mkdir()
    write(folder / "model.safetensors", tensors)
    config = {"architectures": [architecture], "text_config": {"hidden_size": HIDDEN}}
    (folder / "config.json").write_text(json.dumps(config))
    return tensors


@pytest.mark.parametrize("architecture", ["Qwen3VLMoeForConditionalGeneration", "NoSuchForCausalLM"])
def test_each_expert_is_its_rows(tmp_path: Path, architecture: str) -> None:
    names = {
        f"{LAYER}.experts.gate_up_proj": (EXPERTS, 2 * INNER, HIDDEN),
        f"{LAYER}.experts.down_proj": (EXPERTS, HIDDEN, INNER),
        f"{LAYER}.gate.weight": (EXPERTS, HIDDEN),
    }
    tensors = _source(tmp_path / "src", architecture, names)
    done = opswap(tmp_path / "src", tmp_path / "out")
    assert done.returncode == 0, done.stdout + done.stderr
    made, _ = read(tmp_path / "out" / "model.safetensors")
    both, down = tensors[f"{LAYER}.experts.gate_up_proj"], tensors[f"{LAYER}.experts.down_proj"]
    for index in range(EXPERTS):
        parts = {"gate_proj": both[index, :INNER], "up_proj": both[index, INNER:], "down_proj": down[index]}
        for part, weight in parts.items():
            codes, scale = fp8_block128(weight)
            name = f"{LAYER}.experts.{index}.{part}.weight"
            assert made.pop(name).tobytes() == codes.tobytes(), name
            assert made.pop(f"{name}_scale_inv").tobytes() == scale.astype("f4").tobytes(), name
    assert list(made) == [f"{LAYER}.gate.weight"]


def test_bf16_keeps_them_stacked(tmp_path: Path) -> None:
    names = {f"{LAYER}.experts.gate_up_proj": (EXPERTS, 2 * INNER, HIDDEN)}
    tensors = _source(tmp_path / "src", "Qwen3VLMoeForConditionalGeneration", names)
    assert opswap(tmp_path / "src", tmp_path / "out", "--to", "bf16").returncode == 0
    made, _ = read(tmp_path / "out" / "model.safetensors")
    assert {name: one.tobytes() for name, one in made.items()} == {name: one.tobytes() for name, one in tensors.items()}


@pytest.mark.parametrize("architecture", ["Llama4ForConditionalGeneration", "GptOssForCausalLM"])
def test_experts_with_rows_and_columns_exchanged_stay_and_are_named(tmp_path: Path, architecture: str) -> None:
    names = {
        f"{LAYER}.experts.gate_up_proj": (EXPERTS, HIDDEN, HIDDEN),
        f"{LAYER}.experts.down_proj": (EXPERTS, INNER, HIDDEN),
        "model.language_model.layers.0.self_attn.o_proj.weight": (HIDDEN, HIDDEN),
    }
    tensors = _source(tmp_path / "src", architecture, names)
    assert opswap(tmp_path / "src", tmp_path / "out").returncode == 0
    made, _ = read(tmp_path / "out" / "model.safetensors")
    name = f"{LAYER}.experts.gate_up_proj"
    assert made[name].tobytes() == tensors[name].tobytes()
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    assert f"{LAYER}.experts" in config["quantization_config"]["modules_to_not_convert"]
