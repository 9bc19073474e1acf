"""`--to bf16`: every floating tensor rounded as numpy's bfloat16 rounds it."""

from __future__ import annotations

import json
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
from convert.checkpoint import opswap, read, write

DTYPES = {"F16": np.float16, "F32": np.float32, "F64": np.float64}


def _tensors(dtype: type) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(3)
    # Every pattern of the upper half of a float32 with ties and their neighbours below it.
    upper = np.arange(1 << 16, dtype=np.uint32) << 16
    bits = np.concatenate([upper | low for low in (0, 1, 0x7FFF, 0x8000, 0x8001, 0xFFFF)]).view(np.float32)
    bits = bits[np.abs(bits) < 3.3e38]
    with np.errstate(over="ignore"):
        exact = bits.astype(dtype)
    return {
        "all": exact[np.isfinite(exact)],
        "a.o_proj.weight": rng.standard_normal((1030, 1031)).astype(dtype),
        "a.norm.weight": rng.standard_normal(7).astype(dtype),
        "a.conv.weight": rng.standard_normal((3, 1, 5)).astype(dtype),
        "scalar": np.array(1.2345, dtype),
        "empty": np.zeros((0, 4), dtype),
    }


@pytest.mark.parametrize("dtype", DTYPES)
def test_weights_are_those_of_numpy(tmp_path: Path, dtype: str) -> None:
    floats = _tensors(DTYPES[dtype])
    others = {
        "ids": np.arange(9),
        "b.weight": np.ones((2, 3), ml_dtypes.bfloat16),
        "mlp.gate.e_score_correction_bias": np.array([1.0001, 2], np.float32),
    }
    write(tmp_path / "model.safetensors", {**floats, **others})
    (tmp_path / "config.json").write_text('{"torch_dtype": "float32", "rope_theta": 10000.0}')
    ran = opswap(tmp_path, tmp_path.with_name(tmp_path.name + "-out"), "--to", "bf16", "--quiet")
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "", "")
    out = tmp_path.with_name(tmp_path.name + "-out")
    got, metadata = read(out / "model.safetensors")
    assert metadata == {"format": "pt", "opswap.layout": "bf16", "opswap.layout_version": "1"}
    for name, x in floats.items():
        # By way of float32, as every framework rounds.
        assert got[name].tobytes() == x.astype(np.float32).astype(ml_dtypes.bfloat16).tobytes(), name
        assert got[name].shape == x.shape
    for name, x in others.items():
        assert got[name].dtype == x.dtype, name
        assert got[name].tobytes() == x.tobytes(), name
    config = (out / "config.json").read_text()
    assert "10000.0" in config
    assert json.loads(config) == {"torch_dtype": "bfloat16", "rope_theta": 10000.0}


@pytest.mark.parametrize("policy", ["refuse", "keep", "zero"])
def test_what_becomes_infinite_by_rounding_is_not_finite_either(tmp_path: Path, policy: str) -> None:
    x = np.ones((3, 5, 7), np.float32)
    x[1, 2, 3], x[2, 0, 0] = 3.4e38, np.nan
    write(tmp_path / "model.safetensors", {"x": x})
    ran = opswap(tmp_path / "model.safetensors", tmp_path / "out", "--to", "bf16", "--nonfinite", policy)
    if policy == "refuse":
        assert ran.returncode == 1
        error = json.loads(ran.stdout.splitlines()[-1])
        assert "x has 2 NaN or infinite elements, the first at [1, 2, 3]" in error["message"]
        return
    assert ran.returncode == 0, ran.stderr
    got = read(tmp_path / "out/model.safetensors")[0]["x"].astype(np.float32)
    expected = x.copy()
    expected[1, 2, 3], expected[2, 0, 0] = (np.inf, np.nan) if policy == "keep" else (0, 0)
    np.testing.assert_array_equal(got, expected)
