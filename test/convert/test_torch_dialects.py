"""Dialects against the libraries that write them: compressed-tensors' own decompression, transformers' of MXFP4."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from compressed_tensors.compressors import BaseCompressor
from compressed_tensors.quantization import QuantizationArgs, QuantizationScheme
from compressed_tensors.quantization.utils import calculate_qparams
from convert.checkpoint import opswap
from safetensors.torch import load_file, save_file

NAME = "model.layers.0.mlp.down_proj."
INT = {"type": "int", "dynamic": False}
FLOAT = {"type": "float", "dynamic": False, "num_bits": 8}
INPUTS = {"num_bits": 8, "dynamic": True, "strategy": "token"}
SCHEMES = {
    "W4A16": ("pack-quantized", {**INT, "num_bits": 4, "strategy": "group", "group_size": 128}, None),
    "W4A16 asymmetric": (
        "pack-quantized",
        {**INT, "num_bits": 4, "strategy": "group", "group_size": 32, "symmetric": False},
        None,
    ),
    "W8A16 of rows": ("pack-quantized", {**INT, "num_bits": 8, "strategy": "channel"}, None),
    "W8A8": ("int-quantized", {**INT, "num_bits": 8, "strategy": "channel"}, {**INPUTS, "type": "int"}),
    "FP8 of rows": ("float-quantized", {**FLOAT, "strategy": "channel"}, {**INPUTS, "type": "float"}),
    "FP8, one scale": ("float-quantized", {**FLOAT, "strategy": "tensor"}, {**INPUTS, "type": "float"}),
}


def _parameters(weight: torch.Tensor, args: QuantizationArgs) -> tuple[torch.Tensor, torch.Tensor]:
    strategy = str(args.strategy)
    size = args.group_size if strategy == "group" else weight.shape[1]
    groups = weight.reshape(weight.shape[0], -1, size)
    least, most = groups.amin(-1), groups.amax(-1)
    if strategy == "tensor":
        least, most = least.min().reshape(1), most.max().reshape(1)
    return calculate_qparams(least, most, args)


@pytest.mark.parametrize("name", SCHEMES)
def test_compressed_tensors_decompresses_to_the_same(tmp_path: Path, name: str) -> None:
    form, weights, inputs = SCHEMES[name]
    args = QuantizationArgs(**weights)
    scheme = QuantizationScheme(targets=["Linear"], weights=args, input_activations=inputs)
    torch.manual_seed(3)
    weight = torch.randn(264, 384).to(torch.bfloat16)
    scale, zero = _parameters(weight, args)
    compressor = BaseCompressor.get_value_from_registry(form)
    state = {"weight": weight, "weight_scale": scale.to(torch.bfloat16), "weight_zero_point": zero}
    packed = compressor.compress(state, scheme)
    source = tmp_path / "source"
    source.mkdir()
    save_file({NAME + key: value.contiguous() for key, value in packed.items()}, source / "model.safetensors")
    group = {"targets": ["Linear"], "weights": weights, "input_activations": inputs}
    told = {"quant_method": "compressed-tensors", "format": form, "config_groups": {"group_0": group}}
    (source / "config.json").write_text(json.dumps({"quantization_config": told}))
    ran = opswap(source, tmp_path / "out", "--to", "bf16", "--quiet")
    assert (ran.returncode, ran.stderr) == (0, "")
    got = load_file(tmp_path / "out/model.safetensors")
    assert set(got) == {f"{NAME}weight"}
    exact = compressor.decompress(packed, scheme)["weight"]
    assert exact.dtype == torch.bfloat16
    assert torch.equal(got[f"{NAME}weight"].view(torch.int16), exact.view(torch.int16))


def test_transformers_reads_the_experts_of_gpt_oss_as_the_same(tmp_path: Path) -> None:
    from transformers.integrations.mxfp4 import convert_moe_packed_tensors

    rng = np.random.default_rng(8)
    blocks = torch.from_numpy(rng.integers(0, 256, (2, 192, 5, 16), np.uint8))
    scales = torch.from_numpy(rng.integers(110, 132, (2, 192, 5), np.uint8))
    name = "model.layers.0.mlp.experts.gate_up_proj"
    source = tmp_path / "source"
    source.mkdir()
    save_file({f"{name}_blocks": blocks, f"{name}_scales": scales}, source / "model.safetensors")
    (source / "config.json").write_text('{"quantization_config": {"quant_method": "mxfp4"}}')
    ran = opswap(source, tmp_path / "out", "--to", "bf16", "--quiet")
    assert (ran.returncode, ran.stderr) == (0, "")
    got = load_file(tmp_path / "out/model.safetensors")
    exact = convert_moe_packed_tensors(blocks, scales)
    assert torch.equal(got[name].view(torch.int16), exact.view(torch.int16))
