"""The command's output against numpy's, bit for bit."""

from __future__ import annotations

import json
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
from convert.checkpoint import fp8_block128, opswap, read, write

SHAPES = [(128, 128), (256, 384), (1, 1), (130, 257), (127, 40), (5, 1000), (300, 16384 + 130)]
DTYPES = {"BF16": ml_dtypes.bfloat16, "F16": np.float16, "F32": np.float32}


def _weights(dtype: np.dtype) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(5)
    tensors = {}
    for i, shape in enumerate(SHAPES):
        with np.errstate(over="ignore"):
            x = (rng.standard_normal(shape) * 10.0 ** rng.uniform(-6, 2)).astype(dtype)
        tensors[f"layers.{i}.o_proj.weight"] = x
    tensors["zero.o_proj.weight"] = np.zeros((200, 200), dtype)
    signed = np.zeros((128, 128), dtype)
    signed[3, 4] = -0.0
    tensors["signed.o_proj.weight"] = signed
    # Every finite value of 16 bits: each rounding, subnormals included, at many scales.
    bits = np.arange(1 << 16, dtype=np.uint16).view(ml_dtypes.bfloat16).astype(np.float32)
    with np.errstate(over="ignore", invalid="ignore"):
        cast = bits.astype(dtype)
    tensors["all.o_proj.weight"] = np.where(np.isfinite(cast.astype(np.float32)), cast, dtype(0)).reshape(512, 128)
    small = np.sort(np.abs(tensors["all.o_proj.weight"].astype(np.float32)).ravel())[:32768]
    tensors["small.o_proj.weight"] = small.astype(dtype).reshape(256, 128)
    tensors["embed_tokens.weight"] = rng.standard_normal((64, 32)).astype(dtype)
    tensors["norm.weight"] = rng.standard_normal(77).astype(dtype)
    return tensors


@pytest.mark.parametrize("dtype", DTYPES)
def test_codes_and_scales_are_those_of_numpy(tmp_path: Path, dtype: str) -> None:
    tensors = {**_weights(DTYPES[dtype]), "position_ids": np.arange(9, dtype=np.int64)}
    write(tmp_path / "model.safetensors", tensors)
    ran = opswap(tmp_path / "model.safetensors", tmp_path / "out", "--quiet")
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "", "")
    out, metadata = read(tmp_path / "out/model.safetensors")
    assert metadata == {"format": "pt", "opswap.layout": "fp8_block128", "opswap.layout_version": "1"}
    for name, x in tensors.items():
        if "o_proj" not in name:
            assert out[name].dtype == x.dtype
            assert out[name].tobytes() == x.tobytes()
            continue
        codes, scales = fp8_block128(x)
        assert out[name].tobytes() == codes.tobytes(), name
        assert out[f"{name}_scale_inv"].tobytes() == scales.tobytes(), name
    assert set(out) == set(tensors) | {f"{name}_scale_inv" for name in tensors if "o_proj" in name}


def test_the_report_says_how_well(tmp_path: Path) -> None:
    x = (np.random.default_rng(1).standard_normal((512, 512)) * 0.02).astype(ml_dtypes.bfloat16)
    x[:128, :128] = 0
    x[200, 200:204] = [1e-9, -1e-9, 0, 3]
    write(tmp_path / "model.safetensors", {"a.o_proj.weight": x})
    assert opswap("run", tmp_path / "model.safetensors", tmp_path / "out", "-q").returncode == 0
    report = json.loads((tmp_path / "out/conversion.json").read_text())
    codes, scales = fp8_block128(x)
    exact = x.astype(np.float64)
    back = codes.astype(np.float64) * np.kron(scales.astype(np.float64), np.ones((128, 128)))
    quality = report["tensors"][0]["quality"]
    assert quality["sqnr_db"] == pytest.approx(10 * np.log10((exact**2).sum() / ((exact - back) ** 2).sum()), abs=1e-3)
    assert quality["max_error"] == pytest.approx(np.abs(exact - back).max(), rel=1e-5)
    assert quality["smallest_scale"] == float(scales.min())
    assert quality["largest_scale"] == float(scales.max())
    assert quality["zeros"] == int((exact == 0).sum())
    assert quality["flushed_to_zero"] == int(((codes.astype(np.float32) == 0) & (exact != 0)).sum()) > 0
    assert quality["at_limit"] == int((np.abs(codes.astype(np.float32)) == 448).sum())
    assert quality["zero_blocks"] == 1


@pytest.mark.parametrize("policy", ["keep", "zero"])
def test_nonfinite_weights_as_they_were_asked_for(tmp_path: Path, policy: str) -> None:
    x = np.random.default_rng(2).standard_normal((256, 256)).astype(np.float32)
    x[130, 7], x[130, 8], x[131, 9] = np.nan, np.inf, -np.inf
    norm = np.array([1, np.nan, 2], np.float32)
    write(tmp_path / "model.safetensors", {"a.o_proj.weight": x, "norm.weight": norm})
    ran = opswap(tmp_path / "model.safetensors", tmp_path / "out", "--nonfinite", policy, "-q")
    assert ran.returncode == 0, ran.stderr
    out, _ = read(tmp_path / "out/model.safetensors")
    clean = np.where(np.isfinite(x), x, 0)
    codes, scales = fp8_block128(clean)
    bad = ~np.isfinite(x)
    got = out["a.o_proj.weight"]
    assert out["a.o_proj.weight_scale_inv"].tobytes() == scales.tobytes()
    assert (got.view(np.uint8) == codes.view(np.uint8))[~bad].all()
    assert np.isnan(got.astype(np.float32))[bad].all() == (policy == "keep")
    if policy == "zero":
        assert (got.view(np.uint8)[bad] == 0).all()
    assert np.isnan(out["norm.weight"]).tolist() == [False, policy == "keep", False]


@pytest.mark.parametrize("place", [(0, 0), (130, 7), (299, 16500)])
def test_nonfinite_weights_are_refused_with_their_place(tmp_path: Path, place: tuple[int, int]) -> None:
    x = np.ones((300, 16384 + 130), np.float16)
    x[place] = np.inf
    x[299, 16501] = np.nan
    write(tmp_path / "model.safetensors", {"a.o_proj.weight": x})
    ran = opswap(tmp_path / "model.safetensors", tmp_path / "out")
    assert ran.returncode == 1
    error = json.loads(ran.stdout.splitlines()[-1])
    assert error["code"] == "OPSWAP_E_NONFINITE"
    assert f"a.o_proj.weight has 2 NaN or infinite elements, the first at [{place[0]}, {place[1]}]" in error["message"]
    assert not (tmp_path / "out").exists()
