"""compressed-tensors reads the outputs as the library itself does, and makes the same codes from the same scales."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from compressed_tensors.compressors import BaseCompressor
from compressed_tensors.quantization import QuantizationConfig, QuantizationStrategy
from compressed_tensors.quantization.utils import calculate_qparams
from convert.checkpoint import opswap
from safetensors.torch import load_file, save_file

NAMES = [f"model.layers.0.self_attn.{part}_proj.weight" for part in ["q", "k", "v"]]
FP8 = ["ct_fp8_tensor", "ct_fp8_channel", "ct_fp8_block"]


def _weights(rows: tuple[int, ...] = (256, 128, 128)) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(4)
    sizes = zip(NAMES, rows, [0.02, 0.7, 5], strict=True)
    return {name: torch.randn(count, 384, generator=generator) * size for name, count, size in sizes}


def _convert(folder: Path, weights: dict[str, torch.Tensor], to: str, *more: str) -> dict[str, torch.Tensor]:
    (folder / "source").mkdir()
    save_file(weights, folder / "source/model.safetensors")
    (folder / "source/config.json").write_text("{}")
    ran = opswap(folder / "source", folder / "out", "--to", to, "-q", *more)
    assert (ran.returncode, ran.stderr) == (0, ""), ran.stdout
    return load_file(folder / "out/model.safetensors")


def _scheme(folder: Path):
    config = json.loads((folder / "out/config.json").read_text())["quantization_config"]
    parsed = QuantizationConfig.model_validate(config)
    [scheme] = parsed.config_groups.values()
    return parsed.format, scheme


def _module(tensors: dict[str, torch.Tensor], name: str) -> dict[str, torch.Tensor]:
    return {key.removeprefix(name.removesuffix("weight")): x for key, x in tensors.items() if key.startswith(name)}


@pytest.mark.parametrize("to", [*FP8, "w4a8_g128_vllm"])
def test_it_dequantises_to_code_times_scale_and_quantises_to_the_same_codes(tmp_path: Path, to: str) -> None:
    weights = _weights()
    out = _convert(tmp_path, weights, to)
    kind, scheme = _scheme(tmp_path)
    compressor = BaseCompressor.get_value_from_registry(kind)
    for name, weight in weights.items():
        stored = _module(out, name)
        assert set(stored) == set(compressor.compression_param_names(scheme))
        back = compressor.decompress(stored, scheme)["weight"].float()
        error = (weight - back).square().sum() / weight.square().sum()
        assert error < (2e-2 if "w4a8" in to else 1e-3)
        again = compressor.compress({"weight": weight, "weight_scale": stored["weight_scale"].float()}, scheme)
        for key in stored:
            if key != "weight_scale":
                wanted, came = again[key], stored[key]
                assert wanted.dtype == came.dtype
                assert torch.equal(wanted.view(torch.uint8), came.view(torch.uint8)), (name, key)


@pytest.mark.parametrize("to", [*FP8[1:], "w4a8_g128_vllm"])
def test_scales_are_those_of_the_library(tmp_path: Path, to: str) -> None:
    weights = _weights()
    out = _convert(tmp_path, weights, to, "--scales", "amax")
    _, scheme = _scheme(tmp_path)
    for name, weight in weights.items():
        rows, columns = weight.shape
        parts = {
            QuantizationStrategy.CHANNEL: weight[:, None, None, :],
            QuantizationStrategy.GROUP: weight.view(rows, -1, 1, 128),
            QuantizationStrategy.BLOCK: weight.view(rows // 128, 128, columns // 128, 128).transpose(1, 2),
        }[scheme.weights.strategy]
        scales, _ = calculate_qparams(parts.amin((2, 3)), parts.amax((2, 3)), scheme.weights)
        came = out[f"{name}_scale"]
        assert came.shape == scales.shape
        assert torch.equal(came, scales.to(came.dtype)), name


def test_vllm_reads_the_mixed_dialect_as_int4_of_experts_and_blocks_of_the_rest(tmp_path: Path) -> None:
    """By vLLM's own look-up, since its kernels for either want a card."""
    from vllm.model_executor.layers.quantization.compressed_tensors.compressed_tensors import CompressedTensorsConfig

    expert = "model.layers.0.mlp.experts.0"
    weights = {f"{expert}.{part}_proj.weight": torch.randn(256, 256) for part in ["gate", "up", "down"]}
    weights["model.layers.0.self_attn.o_proj.weight"] = torch.randn(256, 256)
    weights["model.layers.0.mlp.gate.weight"] = torch.randn(4, 256)
    _convert(tmp_path, weights, "w4a8_g128_vllm_mixed")
    config = json.loads((tmp_path / "out/config.json").read_text())["quantization_config"]
    parsed = QuantizationConfig.model_validate(config)
    assert parsed.format == "mixed-precision"
    engine = CompressedTensorsConfig.from_config(config)
    engine._add_fused_moe_to_target_scheme_map()

    def scheme(name: str, kind: str) -> tuple:
        found = engine.get_scheme_dict(type(kind, (torch.nn.Module,), {})(), name)
        return found and (found["format"], found["weights"].num_bits, found["weights"].strategy)

    assert scheme(f"{expert}.up_proj", "RoutedExperts") == ("pack-quantized", 4, "group")
    assert scheme("model.layers.0.self_attn.o_proj", "RowParallelLinear") == ("float-quantized", 8, "block")
    assert scheme("model.layers.0.mlp.gate", "ReplicatedLinear") is None
