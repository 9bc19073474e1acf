"""Repacked layouts against direct conversions of the same source: the same files, byte for byte, and back again."""

from __future__ import annotations

import json
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
from convert.checkpoint import nibbles, opswap, read, write

EXPERTS = "model.layers.1.mlp.experts."
DENSE = "model.layers.0.self_attn.o_proj"
CONFIG = '{\n  "architectures": ["Qwen3MoeForCausalLM"],\n  "rope_theta": 10000.0\n}\n'
REPORT = {"conversion.json", "conversion.html"}


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Two files of a mixture of experts, their tensors in the order of names, as safetensors writes them."""
    rng = np.random.default_rng(12)
    made = {
        "lm_head.weight": rng.standard_normal((64, 256)),
        f"{DENSE}.weight": rng.standard_normal((256, 256)),
        "model.layers.0.input_layernorm.weight": rng.standard_normal(256),
        "model.layers.1.mlp.gate.weight": rng.standard_normal((8, 256)),
    }
    for i in range(2):
        for part in ["gate_proj", "up_proj", "down_proj"]:
            made[f"{EXPERTS}{i}.{part}.weight"] = rng.standard_normal((256, 256)) * (1 + i)
    names = sorted(made)
    folder = tmp_path / "source"
    folder.mkdir()
    for i, part in enumerate([names[:5], names[5:]]):
        tensors = {name: made[name].astype(ml_dtypes.bfloat16) for name in part}
        write(folder / f"model-{i + 1:05}-of-00002.safetensors", tensors)
    (folder / "config.json").write_text(CONFIG)
    (folder / "tokenizer.json").write_text("{}")
    inputs = {f"{name}.absmax": rng.uniform(1, 9, 256).astype(np.float32) for name in names if "experts" in name}
    write(tmp_path / "statistics.safetensors", inputs)
    return folder


def _run(*args: object) -> None:
    ran = opswap(*args, "--quiet")
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "", "")


def _refusal(*args: object) -> dict[str, str]:
    ran = opswap(*args)
    assert ran.returncode in {1, 2}, ran.stdout
    assert not Path(str(args[2])).exists()
    return json.loads(ran.stdout.splitlines()[-1])


def _files(folder: Path, without: set[str] = REPORT) -> dict[str, bytes]:
    return {one.name: one.read_bytes() for one in folder.iterdir() if one.name not in without}


def _tensors(folder: Path) -> dict[str, np.ndarray]:
    return {name: x for file in sorted(folder.glob("*.safetensors")) for name, x in read(file)[0].items()}


def _convert(source: Path, to: str, *more: object) -> Path:
    out = source.parent / "-".join(["direct", to, *map(str, more)])
    statistics = [] if "vllm" in to or "fp8" in to else ["--calibration", source.parent / "statistics.safetensors"]
    _run(source, out, "--to", to, *more, *statistics)
    return out


def _repack(folder: Path, to: str, *more: object) -> Path:
    out = folder.parent / f"{folder.name}-as-{to}"
    _run("repack", folder, out, "--to", to, *more)
    return out


PAIRS = [
    ("fp8_block128", "ct_fp8_block"),
    ("fp8_tensor", "ct_fp8_tensor"),
    ("w4a8_g128_sglang", "w4a8_g128_trtllm"),
]
MIXED = "w4a8_g128_vllm_mixed"


@pytest.mark.parametrize(("one", "other"), [*PAIRS, *[pair[::-1] for pair in PAIRS]])
def test_equals_a_conversion_there_and_back(source: Path, one: str, other: str) -> None:
    first, second = _convert(source, one), _convert(source, other)
    there = _repack(first, other)
    assert _files(there) == _files(second)
    assert _files(_repack(there, one)) == _files(first)
    report = json.loads((there / "conversion.json").read_text())
    assert report["options"]["repack"] is True
    assert {one["action"] for one in report["tensors"]} <= {"copy", "rename"}
    assert "those of the input" in (there / "conversion.html").read_text()


INPUTS = "input_scales.json"


@pytest.mark.parametrize("to", ["w4a8_g128_sglang", "w4a8_g128_trtllm"])
def test_int4_of_experts_goes_between_dialects(source: Path, to: str) -> None:
    packed, signed = [_convert(source, one, "--policy", "experts") for one in ["w4a8_g128_vllm", to]]
    statistics = source.parent / "statistics.safetensors"
    assert _files(_repack(packed, to, "--calibration", statistics)) == _files(signed)
    back = _repack(signed, "w4a8_g128_vllm")
    assert _files(back, REPORT | {INPUTS}) == _files(packed)
    assert len(json.loads((back / INPUTS).read_text())) == 6
    assert _files(_repack(back, to)) == _files(signed)  # input scales come back without statistics
    _run("verify", signed, back)


@pytest.mark.parametrize("to", ["w4a8_g128_sglang", "w4a8_g128_trtllm"])
def test_int4_of_experts_and_blocks_of_the_rest_go_between_dialects(source: Path, to: str) -> None:
    mixed, signed = _convert(source, MIXED), _convert(source, to)
    statistics = source.parent / "statistics.safetensors"
    assert _files(_repack(mixed, to, "--calibration", statistics)) == _files(signed)
    back = _repack(signed, MIXED)
    assert _files(back, REPORT | {INPUTS}) == _files(mixed)
    assert _files(_repack(back, to)) == _files(signed)
    tensors = {name: x for file in mixed.glob("*.safetensors") for name, x in read(file)[0].items()}
    assert tensors[f"{DENSE}.weight"].dtype == ml_dtypes.float8_e4m3fn
    assert tensors[f"{DENSE}.weight_scale"].shape == (2, 2)
    assert tensors[f"{EXPERTS}0.up_proj.weight_packed"].dtype == np.int32


def test_flips_nibbles_and_narrows_scales_as_the_layouts_say(source: Path) -> None:
    signed = _convert(source, "w4a8_g128_sglang", "--policy", "experts")
    out = _repack(signed, "w4a8_g128_vllm")
    name = f"{EXPERTS}1.up_proj.weight"
    ours, theirs = [read(folder / "model-00002-of-00002.safetensors")[0] for folder in [out, signed]]
    codes = theirs[name].view(np.uint8)
    both = np.stack([codes & 15, codes >> 4], -1).reshape(256, 256) ^ 8
    assert ours[f"{name}_packed"].tobytes() == nibbles(both.astype(np.int8)).tobytes()
    scales = theirs[f"{name}_scale_inv"]
    np.testing.assert_array_equal(ours[f"{name}_scale"].astype(np.float32), scales)
    assert ours[f"{name}_shape"].tolist() == [256, 256]


def test_in_parts(source: Path) -> None:
    signed = _convert(source, "w4a8_g128_sglang", "--policy", "experts")
    whole, out = _repack(signed, "w4a8_g128_vllm"), source.parent / "out"
    to = ["--to", "w4a8_g128_vllm"]
    _run("repack", signed, out, *to, "--shard", "2/2")
    assert "--shard 1/2" in _refusal("merge", signed, out, *to, "--repack")["message"]
    _run("repack", signed, out, *to, "--shard", "1/2")
    _run("merge", signed, out, *to, "--repack")
    assert _files(out, set()) == _files(whole, set())


def _edit(folder: Path, change: dict[str, np.ndarray]) -> None:
    file = folder / "model-00002-of-00002.safetensors"
    write(file, read(file)[0] | change)


def test_a_scale_that_would_lose_bits_is_refused(source: Path) -> None:
    signed = _convert(source, "w4a8_g128_sglang", "--policy", "experts")
    name = f"{EXPERTS}1.up_proj.weight_scale_inv"
    scales = read(signed / "model-00002-of-00002.safetensors")[0][name].copy()
    scales[[3, 200], [1, 0]] = np.float32(0.1)
    _edit(signed, {name: scales})
    error = _refusal("repack", signed, source.parent / "out", "--to", "w4a8_g128_vllm")
    assert error["code"] == "OPSWAP_E_CANNOT_CONVERT"
    assert f"{name} has 2 elements that BF16 cannot hold, the first is element 7" in error["message"]


def test_what_would_quantise_again_is_refused(source: Path) -> None:
    every = _convert(source, "w4a8_g128_vllm")
    statistics = source.parent / "statistics.safetensors"
    out = source.parent / "out"
    to = ["--to", "w4a8_g128_sglang"]
    error = _refusal("repack", every, out, *to, "--calibration", statistics)
    assert f"{DENSE}.weight is w4a8_g128, and w4a8_g128_sglang has fp8_block128 there" in error["message"]
    assert "nothing in" in _refusal("repack", source, out, *to)["message"]
    blocks = _convert(source, "fp8_block128")
    assert "quantise again" in _refusal("repack", blocks, out, "--to", "ct_fp8_channel")["message"]
    assert "quantise again" in _refusal("repack", blocks, out, "--to", "bf16")["message"]


def test_input_scales_are_never_invented_nor_replaced(source: Path) -> None:
    packed = _convert(source, "w4a8_g128_vllm", "--policy", "experts")
    out, statistics = source.parent / "out", source.parent / "statistics.safetensors"
    error = _refusal("repack", packed, out, "--to", "w4a8_g128_sglang")
    assert error["code"] == "OPSWAP_E_CALIBRATION"
    assert f"of 6 layers that the source has not, the first is {EXPERTS}0.down_proj.weight" in error["message"]
    signed = _convert(source, "w4a8_g128_sglang", "--policy", "experts")
    error = _refusal("repack", signed, out, "--to", "w4a8_g128_trtllm", "--calibration", statistics)
    assert "already" in error["message"]


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        ({"input_activations": None}, "config_groups.group_0.input_activations"),
        ({"weights": {"symmetric": False, "dynamic": False}}, "symmetric"),
    ],
)
def test_another_meaning_of_the_same_tensors_is_refused(source: Path, edit: dict, words: str) -> None:
    packed = _convert(source, "w4a8_g128_vllm", "--policy", "experts")
    config = json.loads((packed / "config.json").read_text())
    config["quantization_config"]["config_groups"]["group_0"].update(edit)
    (packed / "config.json").write_text(json.dumps(config))
    assert words in _refusal("repack", packed, source.parent / "out", "--to", "w4a8_g128_vllm")["message"]


@pytest.mark.parametrize(
    ("name", "array", "words"),
    [
        ("model.layers.1.mlp.experts.0.up_proj.weight_zero_point", np.ones((256, 2), np.int8), "is of no layout"),
        ("model.layers.1.mlp.experts.0.up_proj.weight_shape", np.array([256, 250]), "says another shape"),
        ("model.layers.1.mlp.experts.1.up_proj.weight_scale", np.ones((256, 4), ml_dtypes.bfloat16), "is of no layout"),
    ],
)
def test_codes_of_no_known_layout_are_refused(source: Path, name: str, array: np.ndarray, words: str) -> None:
    packed = _convert(source, "w4a8_g128_vllm", "--policy", "experts")
    file = packed / "model-00002-of-00002.safetensors"
    write(file, read(file)[0] | {name: array})
    index = json.loads((packed / "model.safetensors.index.json").read_text())
    index["weight_map"][name] = file.name
    (packed / "model.safetensors.index.json").write_text(json.dumps(index))
    assert words in _refusal("repack", packed, source.parent / "out", "--to", "w4a8_g128_vllm")["message"]


@pytest.mark.parametrize("dialect", ["w4a8_g128_sglang", "w4a8_g128_trtllm", "w4a8_g128_vllm"])
def test_int4_is_not_rounded_to_int4_again(source: Path, dialect: str) -> None:
    made = _convert(source, dialect, "--policy", "experts")
    error = _refusal("run", made, source.parent / "out", "--to", "w4a8_g128_vllm")
    assert error["code"] == "OPSWAP_E_CANNOT_CONVERT"
    assert "convert repack" in error["remedy"]
    config = json.loads((made / "config.json").read_text())
    # What repack refuses is not its remedy.
    if dialect == "w4a8_g128_vllm":
        config["quantization_config"]["config_groups"]["group_0"]["input_activations"] = None
        (made / "config.json").write_text(json.dumps(config))
        assert "repack" not in _refusal("run", made, source.parent / "out", "--to", "w4a8_g128_vllm")["remedy"]


def test_dialects_of_the_same_codes_are_the_same_bf16(source: Path) -> None:
    """One of them keeps the dense layers, which have no INT4 in the others, as they were."""
    plain = []
    for dialect in ("w4a8_g128_sglang", "w4a8_g128_trtllm", "w4a8_g128_vllm_mixed"):
        made = _convert(source, dialect, "--scales", "amax")
        _run(made, source.parent / f"{dialect}-bf16", "--to", "bf16")
        plain.append(_tensors(source.parent / f"{dialect}-bf16"))
    given = _tensors(source)
    for name, x in plain[0].items():
        assert all(one[name].tobytes() == x.tobytes() for one in plain[1:]), name
        worst = np.abs(x.astype(np.float32) - given[name].astype(np.float32)).max()
        # Half a step of INT4 and of BF16, or what saturates: the largest code is 7, its scale that of 7.5.
        assert worst <= 0.08 * np.abs(given[name].astype(np.float32)).max(), name
    assert set(plain[0]) == set(given)


def test_codes_that_nothing_describes_are_refused(source: Path) -> None:
    made = _convert(source, "w4a8_g128_sglang", "--policy", "experts")
    (made / "config.json").write_text(CONFIG)
    error = _refusal("run", made, source.parent / "out", "--to", "bf16")
    assert error["code"] == "OPSWAP_E_CANNOT_CONVERT"
    assert "is codes of no form that is read" in error["message"]
