"""Every public dialect is read bit for bit: code times scale in float32, rounded once to BF16."""

from __future__ import annotations

import json
import zlib
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
from convert.checkpoint import fp8, opswap, read, write
from convert.dialects import DIALECTS, E4M3, Checkpoint, Make, awq, ct, ct_packed, gpt_oss, gptq

BF16 = ml_dtypes.bfloat16


def _write(folder: Path, made: Checkpoint) -> Path:
    folder.mkdir()
    write(folder / "model.safetensors", {**made.tensors, "model.norm.weight": np.ones(5, BF16)})
    config = {"model_type": "m", **made.config}
    if made.quantization is not None:
        config["quantization_config"] = made.quantization
    for name, text in {"config.json": config, **made.files}.items():
        (folder / name).write_text(json.dumps(text))
    return folder


def _made(name: str) -> Checkpoint:
    return DIALECTS[name](np.random.default_rng(zlib.crc32(name.encode())))


def test_there_are_as_many_as_are_promised() -> None:
    assert len(DIALECTS) >= 24


def _check_bf16(tmp_path: Path, made: Checkpoint) -> None:
    ran = opswap(_write(tmp_path / "source", made), tmp_path / "out", "--to", "bf16", "--quiet")
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "", "")
    got, _ = read(tmp_path / "out/model.safetensors")
    assert set(got) == {*made.weights, "model.norm.weight"}
    for weight, exact in made.weights.items():
        assert got[weight].dtype == BF16
        assert got[weight].shape == exact.shape
        differing = np.flatnonzero(got[weight].view(np.uint16) != exact.astype(BF16).view(np.uint16))
        assert differing.size == 0, (weight, differing[:4])


@pytest.mark.parametrize("name", DIALECTS)
def test_bf16_is_the_code_times_the_scale(tmp_path: Path, name: str) -> None:
    made = _made(name)
    _check_bf16(tmp_path, made)
    config = json.loads((tmp_path / "out/config.json").read_text())
    assert config == {"model_type": "m", **made.config}
    assert sorted(one.name for one in (tmp_path / "out").glob("*.json")) == ["config.json", "conversion.json"]


# Of several tiles in both directions, whose last ones are short.
LARGE: dict[str, Make] = {
    "AWQ": lambda rng: awq(rng, (1096, 2176)),
    "GPTQ": gptq(4, order=True, shape=(2056, 1088)),
    "rows": ct_packed(4, 32, zeros=True, rows=136, columns=17216),
    "order": ct_packed(8, 128, order=True, rows=136, columns=9088),
    "experts": lambda rng: gpt_oss(rng, 1160, 1056),
}


@pytest.mark.parametrize("name", LARGE)
def test_tiles_fit_together(tmp_path: Path, name: str) -> None:
    _check_bf16(tmp_path, LARGE[name](np.random.default_rng(5)))


@pytest.mark.parametrize(
    ("to", "block"), [("fp8_block128", (128, 128)), ("ct_fp8_channel", (1, 4096)), ("fp8_tensor", (4096, 4096))]
)
@pytest.mark.parametrize(
    "name",
    [
        "AWQ",
        "GPTQ, columns in order of activations",
        "compressed-tensors W4A16 asymmetric",
        "compressed-tensors W8A8",
        "fp8 of groups of columns",
        "fp8 e5m2",
    ],
)
def test_other_layouts_are_quantised_from_the_exact_weights(
    tmp_path: Path, name: str, to: str, block: tuple[int, int]
) -> None:
    made = _made(name)
    ran = opswap(_write(tmp_path / "source", made), tmp_path / "out", "--to", to, "--quiet")
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "", "")
    got, _ = read(tmp_path / "out/model.safetensors")
    ((weight, exact),) = made.weights.items()
    codes, scales = fp8(exact, *block)
    assert got[weight].tobytes() == codes.tobytes()
    (found,) = [array for tensor, array in got.items() if "_scale" in tensor]
    assert found.tobytes() == scales.tobytes()


def _refusal(tmp_path: Path, made: Checkpoint) -> dict[str, str]:
    ran = opswap(_write(tmp_path / "source", made), tmp_path / "out", "--to", "bf16")
    assert ran.returncode in {1, 2}, ran.stdout
    assert not (tmp_path / "out").exists()
    error: dict[str, str] = json.loads(ran.stdout.splitlines()[-1])
    assert error["code"] in {"OPSWAP_E_CANNOT_CONVERT", "OPSWAP_E_SOURCE"}
    assert "damaged" not in error["remedy"]
    return error


CODES = np.ones((128, 64), np.uint8)
FLOAT = np.ones((128, 8), np.float32)
EIGHT = np.ones((128, 128), E4M3)
WORDS = np.ones((128, 16), np.int32)
NVFP4 = {"weight_packed": CODES, "weight_scale": np.ones((128, 8), E4M3), "weight_global_scale": np.float32([1])}
MODELOPT_FP4 = {"weight": CODES, "weight_scale": np.ones((128, 8), E4M3), "weight_scale_2": np.float32([1])}
BNB = {"weight": CODES.reshape(-1, 1), "weight.absmax": CODES[0], "weight.quant_map": np.zeros(16, np.float32)}
AWQ = {"qweight": WORDS, "qzeros": WORDS[:1], "scales": np.ones((1, 128), np.float16)}
TRANSFORMS = ct({"num_bits": 4, "type": "int"}, "pack-quantized", transform_config={"config_groups": {"u": {}}})
SPARSE = ct({"num_bits": 8, "type": "float"}, "float-quantized", sparsity_config={"format": "sparse-24-bitmask"})
# What a checkpoint says, its tensors below one layer, and words of the message.
OTHERS: dict[str, tuple[dict | None, dict[str, np.ndarray], str]] = {
    "NVFP4": (ct({"num_bits": 4, "type": "float"}, "nvfp4-pack-quantized"), NVFP4, "compressed-tensors as nvfp4-pack"),
    "ModelOpt NVFP4": ({"quant_method": "modelopt", "quant_algo": "NVFP4"}, MODELOPT_FP4, "ModelOpt as NVFP4"),
    "bitsandbytes": ({"quant_method": "bitsandbytes", "load_in_4bit": True}, BNB, "bitsandbytes"),
    "HQQ": ({"quant_method": "hqq"}, {"W_q": CODES, "scale": FLOAT, "zero": FLOAT}, "hqq"),
    "EXL3": ({"quant_method": "exl3"}, {"trellis": np.ones((8, 8, 64), np.int16), "suh": FLOAT[0]}, "exl3"),
    "AWQ gemv": ({"quant_method": "awq", "bits": 4, "group_size": 128, "version": "gemv"}, AWQ, "AWQ as gemv"),
    "GPTQ of 3 bits": ({"quant_method": "gptq", "bits": 3, "group_size": 128}, AWQ, "GPTQ with 3 bits"),
    "GPTQ for Marlin": ({"quant_method": "gptq", "bits": 4, "checkpoint_format": "marlin"}, AWQ, "GPTQ as marlin"),
    "Quark INT8": (
        {"quant_method": "quark", "global_quant_config": {"weight": {"dtype": "int4"}}},
        {"weight": WORDS, "weight_scale": FLOAT},
        "Quark as int4",
    ),
    "rotated": (TRANSFORMS, {"weight_packed": WORDS, "weight_scale": FLOAT}, "transforms"),
    "sparse": (SPARSE, {"compressed": EIGHT, "bitmask": CODES, "weight_scale": FLOAT}, "sparse-24-bitmask"),
    "no word which tool": (None, AWQ, "config.json says neither"),
    "two scales": (
        None,
        {"weight": EIGHT, "weight_scale": FLOAT[:1, 0], "weight_scale_inv": FLOAT[:1, 0]},
        "two tensors",
    ),
    "codes of another name": (None, {"gate_up_proj": EIGHT.reshape(2, 64, 128)}, "has no m.a.gate_up_proj_scale_inv"),
    "scales of another name": (
        None,
        {"gate_up_proj": EIGHT.reshape(2, 64, 128), "gate_up_proj_scales": np.ones((2, 1, 1), np.float32)},
        "m.a.gate_up_proj_scales is not read as its scales",
    ),
    "a vector of codes": (None, {"bias": EIGHT[0]}, "has no m.a.bias_scale_inv"),
    "scales without codes": (None, {"weight": FLOAT.astype(BF16), "weight_scale_inv": FLOAT}, "belongs to quantised"),
    "exponents without codes": (None, {"gain": np.ones(3, ml_dtypes.float8_e8m0fnu)}, "no form that is read"),
    "bytes that nothing scales": (None, {"weight": CODES}, "no form that is read"),
    "scales of two experts of three": (
        None,
        {"up_proj": EIGHT[:96].reshape(3, 32, 128), "up_proj_scale": np.ones((2, 1, 1), np.float32)},
        "fit no blocks",
    ),
}


@pytest.mark.parametrize("name", OTHERS)
def test_what_is_not_read_is_refused_by_name(tmp_path: Path, name: str) -> None:
    told, layer, words = OTHERS[name]
    made = Checkpoint({f"m.a.{part}": array for part, array in layer.items()}, {}, told)
    assert words in _refusal(tmp_path, made)["message"]


def test_a_column_in_a_group_that_is_not_there_is_refused(tmp_path: Path) -> None:
    made = gptq(4, order=True)(np.random.default_rng(2))
    made.tensors["model.layers.0.mlp.down_proj.g_idx"][7] = 6
    ran = opswap(_write(tmp_path / "source", made), tmp_path / "out", "--to", "bf16")
    error = json.loads(ran.stdout.splitlines()[-1])
    assert error["code"] == "OPSWAP_E_CANNOT_CONVERT"
    assert "g_idx[7] is 6, and" in error["message"]


@pytest.mark.parametrize("bits", [0xFF, 0x7F], ids=["no number", "a number"])
def test_an_exponent_of_all_ones_is_no_number(tmp_path: Path, bits: int) -> None:
    exponents = np.full((1, 1), bits, np.uint8)
    codes = np.full((128, 128), 1, E4M3)
    made = Checkpoint(
        {"a.o_proj.weight": codes, "a.o_proj.weight_scale_inv": exponents},
        {"a.o_proj.weight": codes.astype(np.float32)},
    )
    if bits == 0x7F:
        _check_bf16(tmp_path, made)
        return
    ran = opswap(_write(tmp_path / "source", made), tmp_path / "out", "--to", "bf16")
    assert json.loads(ran.stdout.splitlines()[-1])["code"] == "OPSWAP_E_NONFINITE"


def test_raw_codes_in_an_output_do_not_verify(tmp_path: Path) -> None:
    made = _made("stacked experts in fp8, scales of experts")
    _check_bf16(tmp_path, made)
    file = tmp_path / "out/model.safetensors"
    ((name, codes),) = [(name, array) for name, array in made.tensors.items() if array.dtype == E4M3]
    for raw in (codes, codes.astype(np.float32).astype(BF16)):
        write(file, {name: raw, "model.norm.weight": np.ones(5, BF16)})
        ran = opswap("verify", tmp_path / "source", tmp_path / "out")
        assert ran.returncode == 1
        assert json.loads(ran.stdout.splitlines()[-1])["code"] == "OPSWAP_E_MISMATCH"


def test_a_file_that_speaks_of_codes_is_not_beside_weights(tmp_path: Path) -> None:
    """vLLM would read it where config.json says nothing, and serve BF16 as FP8."""
    weight = np.random.default_rng(1).standard_normal((128, 128)).astype(BF16)
    told = {"producer": {"name": "modelopt"}, "quantization": {"quant_algo": "FP8", "kv_cache_quant_algo": "FP8"}}
    made = Checkpoint(
        {"a.o_proj.weight": weight}, {}, files={"hf_quant_config.json": told, "generation_config.json": {}}
    )
    source = _write(tmp_path / "source", made)
    for to in ("bf16", "fp8_block128"):
        ran = opswap(source, tmp_path / to, "--to", to, "--quiet")
        assert (ran.returncode, ran.stderr) == (0, "")
        assert not (tmp_path / to / "hf_quant_config.json").exists()
        assert (tmp_path / to / "generation_config.json").exists()


def test_rows_of_one_scale_are_cut_inside_a_word(tmp_path: Path) -> None:
    """A tile holds 63 of these rows, and a word of AWQ eight."""
    made = awq(np.random.default_rng(4), (264, 16640))
    ran = opswap(_write(tmp_path / "source", made), tmp_path / "out", "--to", "ct_fp8_channel", "--quiet")
    assert (ran.returncode, ran.stderr) == (0, "")
    got, _ = read(tmp_path / "out/model.safetensors")
    ((weight, exact),) = made.weights.items()
    codes, scales = fp8(exact, 1, exact.shape[1])
    assert got[weight].tobytes() == codes.tobytes()
    assert got[f"{weight}_scale"].tobytes() == scales.tobytes()
