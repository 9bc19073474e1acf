"""Layouts of opswap's own kernels: their bytes, and that each goes to its neighbours and back without a changed bit."""

from __future__ import annotations

import json
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
from convert.checkpoint import fp8, fp8_block128, opswap, read, write

BF16 = np.dtype(ml_dtypes.bfloat16)
# Rows of 1, 3, 4 and 9 scales: ragged blocks, and one that needs no padding.
SHAPES = {"a.o_proj.weight": (130, 100), "b.o_proj.weight": (256, 300), "c.o_proj.weight": (128, 512)}
SHAPES["d.o_proj.weight"] = (384, 1100)


def done(*args: object) -> None:
    ran = opswap(*args, "--quiet")
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "", "")


@pytest.fixture(scope="module")
def weights() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(11)
    made = {name: (rng.standard_normal(shape) * 0.1).astype(BF16) for name, shape in SHAPES.items()}
    return {**made, "lm_head.weight": rng.standard_normal((64, 100)).astype(BF16)}


@pytest.fixture(scope="module")
def source(weights, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("own") / "source"
    folder.mkdir()
    write(folder / "model.safetensors", weights)
    (folder / "config.json").write_text('{"architectures": ["Qwen3ForCausalLM"]}')
    return folder


def tensors(folder: Path) -> dict[str, np.ndarray]:
    return read(folder / "model.safetensors")[0]


def described(folder: Path) -> dict:
    return json.loads((folder / "config.json").read_text())["quantization_config"]


def test_rows_of_scales_are_padded_with_zeros(source, weights, tmp_path):
    done(source, tmp_path / "out", "--to", "fp8_block128_pad4")
    out = tensors(tmp_path / "out")
    assert described(tmp_path / "out") == {
        "quant_method": "opswap",
        "layout": "fp8_block128_pad4",
        "modules_to_not_convert": ["lm_head"],
    }
    for name in SHAPES:
        codes, scales = fp8_block128(weights[name])
        filled = np.pad(scales, ((0, 0), (0, -scales.shape[1] % 4)))
        assert out[name].tobytes() == codes.tobytes()
        got = out[f"{name}_scale_inv"]
        assert got.shape == filled.shape and got.tobytes() == filled.tobytes()


def test_a_scale_for_each_row(source, weights, tmp_path):
    done(source, tmp_path / "out", "--to", "fp8_channel")
    out = tensors(tmp_path / "out")
    for name in SHAPES:
        codes, scales = fp8(weights[name], 1, 1 << 20)
        assert out[name].tobytes() == codes.tobytes()
        assert out[f"{name}_scale"].shape == scales.shape and out[f"{name}_scale"].tobytes() == scales.tobytes()


@pytest.mark.parametrize(
    ("own", "plain"),
    [("fp8_block128_pad4", "fp8_block128"), ("fp8_block128_pad4", "ct_fp8_block"), ("fp8_channel", "ct_fp8_channel")],
)
def test_repack_makes_what_convert_makes_and_goes_back(own, plain, source, tmp_path):
    for to in (own, plain):
        done(source, tmp_path / to, "--to", to)
        done(tmp_path / to, tmp_path / f"bf16-{to}", "--to", "bf16")
    for name, other in [(own, plain), (plain, own)]:
        done("repack", tmp_path / name, tmp_path / f"from-{name}", "--to", other)
        got, wanted = tensors(tmp_path / f"from-{name}"), tensors(tmp_path / other)
        assert set(got) == set(wanted)
        assert all(got[n].tobytes() == wanted[n].tobytes() and got[n].shape == wanted[n].shape for n in wanted)
        assert described(tmp_path / f"from-{name}") == described(tmp_path / other)
        done("verify", tmp_path / name, tmp_path / f"from-{name}")
    inverse = [tensors(tmp_path / f"bf16-{to}") for to in (own, plain)]
    assert inverse[0].keys() == inverse[1].keys() >= SHAPES.keys()
    assert all(inverse[0][n].tobytes() == inverse[1][n].tobytes() for n in inverse[0])
    inspected = json.loads(opswap("inspect", tmp_path / own, "--json").stdout)
    assert inspected["layout"] == {"id": own, "version": 1}


def test_a_bit_in_the_padding_is_found(source, tmp_path):
    whole = tmp_path / "whole"
    done(source, tmp_path / "fp8")
    done(source, whole, "--to", "fp8_block128_pad4")
    done("repack", tmp_path / "fp8", tmp_path / "out", "--to", "fp8_block128_pad4")
    for made, of in [(whole, source), (tmp_path / "out", tmp_path / "fp8")]:
        file = made / "model.safetensors"
        data = bytearray(file.read_bytes())
        start = 8 + int.from_bytes(data[:8], "little")
        end = start + json.loads(data[8:start])["a.o_proj.weight_scale_inv"]["data_offsets"][1]
        data[end - 1] ^= 1
        file.write_bytes(data)
        ran = opswap("verify", of, made, "--json")
        assert ran.returncode == 1 and "a.o_proj.weight_scale_inv" in ran.stdout
