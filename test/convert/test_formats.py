"""Codes, scales, names and descriptions of every layout against numpy's reading of docs/layouts.md."""

from __future__ import annotations

import json
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
from convert.checkpoint import fp8, int4, nibbles, opswap, read, write

ATTENTION = "model.layers.0.self_attn."
MLP = "model.layers.0.mlp."
EXPERTS = "model.layers.1.mlp.experts."


def _model(dtype: np.dtype) -> dict[str, np.ndarray]:
    """A layer whose parts are of unlike sizes, so that what is shared shows; a group of zeros; a subnormal one."""
    rng = np.random.default_rng(9)

    def matrix(rows: int, columns: int, size: float) -> np.ndarray:
        return (rng.standard_normal((rows, columns)) * size).astype(dtype)

    down = matrix(128, 1152, 0.3)
    down[5, 128:256] = 0
    down[6, :128] = np.float32(1e-13)
    return {
        f"{ATTENTION}q_proj.weight": matrix(256, 128, 0.02),
        f"{ATTENTION}k_proj.weight": matrix(128, 128, 0.5),
        f"{ATTENTION}v_proj.weight": matrix(128, 128, 3),
        f"{MLP}down_proj.weight": down,
        f"{MLP}gate.weight": matrix(8, 128, 1),
        "lm_head.weight": matrix(64, 128, 1),
        "model.norm.weight": rng.standard_normal(128).astype(dtype),
    }


def _moe(dtype: np.dtype) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(10)
    made = {f"{ATTENTION}o_proj.weight": (rng.standard_normal((256, 256)) * 0.1).astype(dtype)}
    for expert in range(2):
        for part in ["gate_proj", "up_proj", "down_proj"]:
            weight = (rng.standard_normal((256, 256)) * (1 + expert)).astype(dtype)
            made[f"{EXPERTS}{expert}.{part}.weight"] = weight
    return made


def _convert(folder: Path, tensors: dict[str, np.ndarray], to: str, *more: object) -> dict[str, np.ndarray]:
    source = folder / "source"
    source.mkdir()
    write(source / "model.safetensors", tensors)
    (source / "config.json").write_text('{"architectures": ["Qwen3ForCausalLM"], "rope_theta": 10000.0}')
    ran = opswap(source, folder / "out", "--to", to, "--quiet", *more)
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "", "")
    out, metadata = read(folder / "out/model.safetensors")
    assert metadata == {"format": "pt", "opswap.layout": to, "opswap.layout_version": "1"}
    return out


def _quantization(folder: Path) -> dict:
    return json.loads((folder / "out/config.json").read_text())["quantization_config"]


def _quantized(tensors: dict[str, np.ndarray]) -> list[str]:
    return [name for name in tensors if "_proj" in name]


def _same(out: np.ndarray, wanted: np.ndarray, name: str) -> None:
    assert (out.dtype, out.shape) == (wanted.dtype, wanted.shape), name
    assert out.tobytes() == wanted.tobytes(), name


def _copied(tensors: dict[str, np.ndarray], out: dict[str, np.ndarray]) -> None:
    for name in set(tensors) - set(_quantized(tensors)):
        _same(out[name], tensors[name], name)


SHARED = [[f"{ATTENTION}{part}_proj.weight" for part in "qkv"], [f"{MLP}down_proj.weight"]]


@pytest.mark.parametrize("dtype", [ml_dtypes.bfloat16, np.float16, np.float32])
@pytest.mark.parametrize("to", ["fp8_tensor", "ct_fp8_tensor"])
def test_one_scale_is_that_of_all_that_engines_fuse(tmp_path: Path, to: str, dtype: np.dtype) -> None:
    tensors = _model(dtype)
    out = _convert(tmp_path, tensors, to)
    for group in SHARED:
        amax = max(np.abs(tensors[name].astype(np.float32)).max() for name in group)
        scale = np.float32(amax) / np.float32(448)
        for name in group:
            codes = (tensors[name].astype(np.float32) / scale).astype(ml_dtypes.float8_e4m3fn)
            _same(out[name], codes, name)
            _same(out[f"{name}_scale"], np.array([scale]), name)
    _copied(tensors, out)
    assert set(out) == set(tensors) | {f"{name}_scale" for name in _quantized(tensors)}


@pytest.mark.parametrize(("to", "high", "wide"), [("ct_fp8_channel", 1, 1 << 20), ("ct_fp8_block", 128, 128)])
def test_compressed_tensors_scales(tmp_path: Path, to: str, high: int, wide: int) -> None:
    tensors = _model(ml_dtypes.bfloat16)
    out = _convert(tmp_path, tensors, to)
    for name in _quantized(tensors):
        codes, scales = fp8(tensors[name], high, wide)
        _same(out[name], codes, name)
        _same(out[f"{name}_scale"], scales, name)
    _copied(tensors, out)
    block = _quantization(tmp_path)
    assert block["ignore"] == ["lm_head", "model.layers.0.mlp.gate"]
    assert block["quant_method"] == "compressed-tensors"


def test_rows_longer_than_usual_and_many_of_them(tmp_path: Path) -> None:
    x = np.random.default_rng(4).standard_normal((130, 40_000)).astype(np.float32)
    out = _convert(tmp_path, {"a.o_proj.weight": x}, "ct_fp8_channel")
    codes, scales = fp8(x, 1, 1 << 20)
    _same(out["a.o_proj.weight"], codes, "codes")
    _same(out["a.o_proj.weight_scale"], scales, "scales")


@pytest.mark.parametrize("rule", ["mse", "amax"])
@pytest.mark.parametrize("dtype", [ml_dtypes.bfloat16, np.float16, np.float32])
def test_int4_as_vllm_packs_it(tmp_path: Path, dtype: np.dtype, rule: str) -> None:
    tensors = _model(dtype)
    out = _convert(tmp_path, tensors, "w4a8_g128_vllm", *([] if rule == "mse" else ["--scales", rule]))
    for name in _quantized(tensors):
        rows, columns = tensors[name].shape
        codes, scales = int4(tensors[name], rule)
        offset = (codes.astype(np.int64) + 8).reshape(rows, columns // 8, 8)
        words = (offset << (4 * np.arange(8))).sum(-1).astype(np.uint32).view(np.int32)
        _same(out[f"{name}_packed"], words, name)
        _same(out[f"{name}_scale"], scales.astype(ml_dtypes.bfloat16), name)
        _same(out[f"{name}_shape"], np.array([rows, columns], np.int64), name)
    _copied(tensors, out)
    group = _quantization(tmp_path)["config_groups"]["group_0"]
    assert group["format"] == "pack-quantized"
    weights = {"num_bits": 4, "type": "int", "symmetric": True, "strategy": "group", "group_size": 128}
    assert group["weights"] == weights | {"dynamic": False}
    ran = opswap("verify", tmp_path / "source", tmp_path / "out", "--quiet")
    assert ran.returncode == 0, ran.stdout
    assert f"{MLP}down_proj.weight" in _quantized(tensors)


def _calibration(folder: Path, tensors: dict[str, np.ndarray]) -> tuple[Path, dict[str, np.ndarray]]:
    rng = np.random.default_rng(3)
    known = {
        f"{name}.absmax": rng.uniform(1, 9, x.shape[1]).astype(np.float32)
        for name, x in tensors.items()
        if "experts" in name
    }
    write(folder / "statistics.safetensors", known)
    return folder / "statistics.safetensors", known


PARTS = {"gate_proj": "w1", "down_proj": "w2", "up_proj": "w3"}


@pytest.mark.parametrize("to", ["w4a8_g128_sglang", "w4a8_g128_trtllm"])
def test_int4_experts_with_static_inputs(tmp_path: Path, to: str) -> None:
    tensors = _moe(ml_dtypes.bfloat16)
    statistics, known = _calibration(tmp_path, tensors)
    out = _convert(tmp_path, tensors, to, "--calibration", statistics)
    expected = set()
    for name, x in tensors.items():
        expected |= {name, f"{name}_scale_inv"}
        if "experts" not in name:
            codes, scales = fp8(x, 128, 128)
            _same(out[name], codes, name)
            _same(out[f"{name}_scale_inv"], scales, name)
            continue
        codes, scales = int4(x, "mse")
        _same(out[name], nibbles(codes).view(np.int8), name)
        _same(out[f"{name}_scale_inv"], scales, name)
        parent, leaf = name.removesuffix(".weight").rsplit(".", 1)
        together = ["gate_proj", "up_proj"] if leaf != "down_proj" else [leaf]
        amax = max(known[f"{parent}.{part}.weight.absmax"].max() for part in together)
        _same(out[f"{parent}.{PARTS[leaf]}.input_scale"], np.array([amax / np.float32(448)]), name)
        expected.add(f"{parent}.{PARTS[leaf]}.input_scale")
    assert set(out) == expected
    if to == "w4a8_g128_sglang":
        assert _quantization(tmp_path)["quant_method"] == "w4afp8"
        return
    assert "quantization_config" not in json.loads((tmp_path / "out/config.json").read_text())
    layers = json.loads((tmp_path / "out/quant_cfg.json").read_text())["quantized_layers"]
    assert layers == {
        "model.layers.0.self_attn.o_proj": {"quant_algo": "FP8_BLOCK_SCALES"},
        "model.layers.1.mlp.experts": {"quant_algo": "W4A8_AWQ"},
    }
    algorithm = json.loads((tmp_path / "out/hf_quant_config.json").read_text())["quantization"]
    assert algorithm == {"quant_algo": "MIXED_PRECISION", "kv_cache_quant_algo": None}


def _refusal(*args: object) -> dict[str, str]:
    ran = opswap(*args)
    assert ran.returncode in {1, 2}, ran.stdout
    return json.loads(ran.stdout.splitlines()[-1])


def test_static_scales_are_never_invented(tmp_path: Path) -> None:
    tensors = _moe(ml_dtypes.bfloat16)
    write(tmp_path / "model.safetensors", tensors)
    to = [tmp_path / "model.safetensors", tmp_path / "out", "--to", "w4a8_g128_sglang"]
    error = _refusal(*to)
    assert error["code"] == "OPSWAP_E_CALIBRATION"
    assert f"of 6 layers that nobody gave, the first is {EXPERTS}0.gate_proj.weight" in error["message"]
    assert f"{EXPERTS}0.gate_proj.weight.absmax" in error["remedy"]
    some, _ = _calibration(tmp_path, {name: x for name, x in tensors.items() if "experts.1" in name})
    assert "of 3 layers that --calibration has not" in _refusal(*to, "--calibration", some)["message"]
    statistics, _ = _calibration(tmp_path, tensors)
    assert opswap(*to, "--calibration", statistics, "-q").returncode == 0
    again = _refusal("verify", tmp_path / "model.safetensors", tmp_path / "out")
    assert again["code"] == "OPSWAP_E_CALIBRATION"
    assert opswap("verify", *to[:2], "--calibration", statistics, "-q").returncode == 0


def test_statistics_of_another_shape_are_refused(tmp_path: Path) -> None:
    tensors = _moe(ml_dtypes.bfloat16)
    write(tmp_path / "model.safetensors", tensors)
    wrong = {f"{name}.absmax": np.ones(7, np.float32) for name in tensors}
    write(tmp_path / "statistics.safetensors", wrong)
    error = _refusal(
        *[tmp_path / "model.safetensors", tmp_path / "out", "--to", "w4a8_g128_sglang"],
        *["--calibration", tmp_path / "statistics.safetensors"],
    )
    assert error["code"] == "OPSWAP_E_CALIBRATION"
    assert "is F32 of [7], not F32 of [256]" in error["message"]


def test_int4_has_no_nan(tmp_path: Path) -> None:
    x = np.ones((128, 128), np.float32)
    x[3, 5] = np.nan
    write(tmp_path / "model.safetensors", {"a.o_proj.weight": x})
    to = [tmp_path / "model.safetensors", tmp_path / "out", "--to", "w4a8_g128_vllm"]
    assert "no code for NaN" in _refusal(*to, "--nonfinite", "keep")["message"]
    assert "first at [3, 5]" in _refusal(*to)["message"]
    assert opswap(*to, "--nonfinite", "zero", "--restart", "-q").returncode == 0
    out, _ = read(tmp_path / "out/model.safetensors")
    assert out["a.o_proj.weight_packed"].view(np.uint32)[3, 0] >> 20 & 15 == 8  # 0 with 8 added


def test_signal_to_noise_on_normal_weights(tmp_path: Path) -> None:
    x = (np.random.default_rng(1).standard_normal((1024, 1024)) * 0.02).astype(ml_dtypes.bfloat16)
    write(tmp_path / "model.safetensors", {"a.o_proj.weight": x})

    def decibel(to: str, *more: str) -> float:
        folder = tmp_path / "-".join([to, *more])
        assert opswap("run", tmp_path / "model.safetensors", folder, "--to", to, "-q", *more).returncode == 0
        return json.loads((folder / "conversion.json").read_text())["totals"]["sqnr_db"]

    assert decibel("fp8_block128") == pytest.approx(31.55, abs=0.05)
    clipped = decibel("w4a8_g128_vllm")
    assert clipped == pytest.approx(19.92, abs=0.05)
    assert decibel("w4a8_g128_vllm", "--scales", "amax") == pytest.approx(19.12, abs=0.05)
    exact = x.astype(np.float64)
    codes, scales = int4(x, "mse")
    error = exact - codes * np.repeat(scales.astype(np.float64), 128, 1)
    assert clipped == pytest.approx(10 * np.log10((exact**2).sum() / (error**2).sum()), abs=1e-4)
