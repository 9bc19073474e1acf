"""FP8 checkpoints in: dequantised, requantised, or passed through unchanged."""

from __future__ import annotations

import json
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
from convert.checkpoint import fp8_block128, opswap, read, write

E4M3 = ml_dtypes.float8_e4m3fn
BF16 = ml_dtypes.bfloat16
BLOCK = {"quant_method": "fp8", "activation_scheme": "dynamic", "weight_block_size": [128, 128]}


def _ct(block: list[int] | None) -> dict[str, object]:
    weights = {"num_bits": 8, "type": "float", "block_structure": block}
    return {
        "quant_method": "compressed-tensors",
        "format": "float-quantized",
        "config_groups": {"g": {"weights": weights}},
    }


def _codes(shape: tuple[int, int]) -> np.ndarray:
    """Every finite code, many times."""
    finite = np.array([code for code in range(256) if code & 0x7F != 0x7F], np.uint8)
    return np.resize(finite, shape).view(E4M3)


def _write(folder: Path, tensors: dict[str, np.ndarray], quantization: dict[str, object]) -> Path:
    folder.mkdir()
    write(folder / "model.safetensors", tensors)
    config = {"model_type": "m", "quantization_config": quantization, "rope_theta": 10000.0}
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def _convert(*args: object) -> None:
    ran = opswap(*args, "--quiet")
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "", "")


def _spread(scales: np.ndarray, shape: tuple[int, int], block: tuple[int, int]) -> np.ndarray:
    return np.kron(scales.astype(np.float32), np.ones(block, np.float32))[: shape[0], : shape[1]]


SHAPE = (300, 520)
CASES = {
    "block": ("weight_scale_inv", BLOCK, (3, 5), (128, 128), np.float32),
    "small block": ("weight_scale_inv", {**BLOCK, "weight_block_size": [64, 32]}, (5, 17), (64, 32), np.float32),
    "ct block": ("weight_scale", _ct([128, 128]), (3, 5), (128, 128), BF16),
    "ct channel": ("weight_scale", _ct(None), (300, 1), (1, 520), BF16),
    "ct tensor": ("weight_scale", _ct(None), (1,), (300, 520), np.float32),
    "tensor": ("weight_scale", {"quant_method": "fp8", "activation_scheme": "static"}, (), (300, 520), np.float32),
}


@pytest.mark.parametrize("case", CASES)
def test_codes_times_scales_in_float32_then_bf16(tmp_path: Path, case: str) -> None:
    suffix, quantization, scale_shape, block, dtype = CASES[case]
    scales = (2.0 ** np.random.default_rng(4).uniform(-12, 0, scale_shape)).astype(dtype)
    codes = _codes(SHAPE)
    tensors = {
        "a.o_proj.weight": codes,
        f"a.o_proj.{suffix}": scales,
        "a.o_proj.input_scale": np.float32(0.5).reshape(1),
        "a.norm.weight": np.ones(7, BF16),
    }
    source = _write(tmp_path / "source", tensors, quantization)
    _convert(source, tmp_path / "out", "--to", "bf16")
    got, _ = read(tmp_path / "out/model.safetensors")
    assert set(got) == {"a.o_proj.weight", "a.norm.weight"}
    grid = scales.reshape(scale_shape if len(scale_shape) == 2 else (1, 1))
    exact = codes.astype(np.float32) * _spread(grid, SHAPE, block)
    assert got["a.o_proj.weight"].tobytes() == exact.astype(BF16).tobytes()
    config = (tmp_path / "out/config.json").read_text()
    assert json.loads(config) == {"model_type": "m", "rope_theta": 10000.0}
    assert "10000.0" in config
    _convert(source, tmp_path / "fp8")
    got, _ = read(tmp_path / "fp8/model.safetensors")
    if case == "block":
        assert got["a.o_proj.weight"].tobytes() == codes.tobytes()
        assert got["a.o_proj.weight_scale_inv"].tobytes() == scales.tobytes()
    else:
        again, new_scales = fp8_block128(exact)
        assert got["a.o_proj.weight"].tobytes() == again.tobytes()
        assert got["a.o_proj.weight_scale_inv"].tobytes() == new_scales.tobytes()
    assert set(got) == {"a.o_proj.weight", "a.o_proj.weight_scale_inv", "a.norm.weight"}


def test_block_fp8_passes_through_but_for_groups_that_engines_would_load_wrongly(tmp_path: Path) -> None:
    rng = np.random.default_rng(8)
    plain = {"a.kept_proj.weight": rng.standard_normal((128, 128)).astype(BF16)}
    for name, rows in {"o_proj": 256, "q_proj": 192, "k_proj": 192, "v_proj": 192}.items():
        codes, scales = fp8_block128(rng.standard_normal((rows, 256)).astype(np.float32))
        plain |= {f"a.{name}.weight": codes, f"a.{name}.weight_scale_inv": scales}
    source = _write(tmp_path / "source", plain, {**BLOCK, "modules_to_not_convert": ["a.kept_proj"]})
    _convert(source, tmp_path / "out")
    got, _ = read(tmp_path / "out/model.safetensors")
    for name in ("a.kept_proj.weight", "a.o_proj.weight", "a.o_proj.weight_scale_inv"):
        assert (got[name].dtype, got[name].tobytes()) == (plain[name].dtype, plain[name].tobytes())
    for leaf in "qkv":
        name = f"a.{leaf}_proj.weight"
        scales = _spread(plain[f"{name}_scale_inv"], plain[name].shape, (128, 128))
        assert got[name].tobytes() == (plain[name].astype(np.float32) * scales).astype(BF16).tobytes()
        assert f"{name}_scale_inv" not in got
    kept = json.loads((tmp_path / "out/config.json").read_text())["quantization_config"]["modules_to_not_convert"]
    assert kept == ["a.k_proj", "a.kept_proj", "a.q_proj", "a.v_proj"]


def test_scales_may_be_in_another_file(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    first, second = "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"
    x = np.random.default_rng(9).standard_normal((200, 300)).astype(np.float32)
    codes, scales = fp8_block128(x)
    write(source / first, {"a.o_proj.weight": codes})
    write(source / second, {"a.o_proj.weight_scale_inv": scales, "a.norm.weight": np.ones(3, BF16)})
    _convert(source, tmp_path / "out", "--to", "bf16")
    got, _ = read(tmp_path / "out" / first)
    exact = codes.astype(np.float32) * _spread(scales, x.shape, (128, 128))
    assert got["a.o_proj.weight"].tobytes() == exact.astype(BF16).tobytes()
    _convert(source, tmp_path / "same")
    assert read(tmp_path / "same" / first)[0]["a.o_proj.weight"].tobytes() == codes.tobytes()
    got, _ = read(tmp_path / "same" / second)
    assert got["a.o_proj.weight_scale_inv"].tobytes() == scales.tobytes()


@pytest.mark.parametrize(
    ("scale", "code", "message", "remedy"),
    [
        (
            None,
            "SOURCE",
            "has no a.o_proj.weight_scale_inv or a.o_proj.weight_scale",
            "fetch the file that has its scales",
        ),
        (
            np.ones((2, 2), np.float32),
            "SOURCE",
            "which fit no blocks; config.json names blocks of 128 x 128",
            "mend it where",
        ),
        (
            np.ones((3, 5), np.int16),
            "CANNOT_CONVERT",
            "of I16",
            "read are F32, BF16, F16, F64, F8_E8M0, U8",
        ),
    ],
)
def test_codes_without_scales_that_fit_are_refused(
    tmp_path: Path, scale: np.ndarray | None, code: str, message: str, remedy: str
) -> None:
    tensors = {"a.o_proj.weight": _codes(SHAPE)}
    if scale is not None:
        tensors["a.o_proj.weight_scale_inv"] = scale
    ran = opswap(_write(tmp_path / "source", tensors, BLOCK), tmp_path / "out", "--to", "bf16")
    error = json.loads(ran.stdout.splitlines()[-1])
    assert error["code"] == (
        "OPSWAP_E_CANNOT_CONVERT" if scale is not None and scale.dtype == np.int16 else "OPSWAP_E_SOURCE"
    )
    assert message in error["message"]
    assert remedy in error["remedy"]
    assert "damaged" not in error["remedy"]


def test_nan_codes_are_refused_with_their_place(tmp_path: Path) -> None:
    codes = _codes(SHAPE).copy()
    codes.view(np.uint8)[211, 3] = 0xFF
    tensors = {"a.o_proj.weight": codes, "a.o_proj.weight_scale_inv": np.ones((3, 5), np.float32)}
    source = _write(tmp_path / "source", tensors, BLOCK)
    ran = opswap(source, tmp_path / "out", "--to", "bf16")
    error = json.loads(ran.stdout.splitlines()[-1])
    assert error["code"] == "OPSWAP_E_NONFINITE"
    assert "[211, 3]" in error["message"]
    _convert(source, tmp_path / "kept", "--to", "bf16", "--nonfinite", "keep")
    assert np.isnan(read(tmp_path / "kept/model.safetensors")[0]["a.o_proj.weight"][211, 3])
