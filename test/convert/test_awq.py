"""Activation-aware scales, worked out again in numpy from docs/convert-algorithms.md: exponents, folds, codes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import opswap as opswap_python
import pytest
from convert import awq_models as models
from convert.awq_models import BF16, LAYER
from convert.checkpoint import int4, opswap

F32 = np.float32
STEPS = 16
ATTENTION, MLP = f"{LAYER}self_attn.", f"{LAYER}mlp."
NORMS = ["input_layernorm", "post_attention_layernorm"]


def _floored(squares: np.ndarray) -> np.ndarray:
    return np.maximum(squares.astype(np.float64), squares.max() * 2.0**-16)


def _scales(squares: np.ndarray, step: int) -> np.ndarray:
    """magnitude ** (step / 16), over the geometric mean of the largest and the least."""
    x = squares.astype(np.float64)
    for _ in range(5):
        x = np.sqrt(x)
    power = np.ones_like(x)
    for _ in range(step):
        power = power * x
    return power / np.sqrt(power.min() * power.max())


def _norm(weight: np.ndarray, scales: np.ndarray, plus_one: bool) -> tuple[np.ndarray, np.ndarray]:
    """The folded norm as it is stored, and what columns are multiplied by."""
    one = F32(1 if plus_one and not (scales == 1).all() else 0)
    x = weight.astype(F32)
    stored = ((x + one) * (1 / scales).astype(F32) - one).astype(BF16)
    was, left = (y.astype(np.float64) + (1 if plus_one else 0) for y in (x, stored))
    with np.errstate(divide="ignore", invalid="ignore"):
        columns = was / left
    return stored, np.where(columns > 0, columns, 1)


def _importance(columns: np.ndarray, squares: np.ndarray) -> np.ndarray:
    return (squares / columns**2).astype(F32)


def _error(weights: list[np.ndarray], columns: np.ndarray, squares: np.ndarray, weighted: bool = True) -> float:
    total = 0.0
    importance = _importance(columns, squares)
    for weight in weights:
        scaled = weight.astype(F32) * columns.astype(F32)
        codes, scales = int4(scaled, "mse", importance if weighted else None)
        back = codes * np.repeat(scales, 128, 1).astype(np.float64)
        total += (importance * (scaled - back) ** 2).sum()
    return total


def _convert(folder: Path, tensors: dict, about: dict, known: dict, *more: object) -> tuple[dict, dict]:
    source, statistics = models.write_model(folder, tensors, about, known)
    to = ["--to", "w4a8_g128_vllm", "--awq", "--calibration", statistics]
    ran = opswap(source, folder / "out", *to, "-q", *more)
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "", "")
    return models.output_of(folder / "out")


def _group(report: dict, from_: str) -> dict:
    [group] = [one for one in report["scaled"] if one["from"] == from_]
    return group


def _best(report: dict, from_: str, error) -> int:
    """The step that the report names, checked against every other."""
    group = _group(report, from_)
    errors = [error(step, True) for step in range(STEPS + 1)]
    assert np.isfinite(errors).all(), errors  # min() passes over a NaN
    step = int(group["alpha"] * STEPS)
    assert group["error_before"] == pytest.approx(error(0, False), rel=1e-4)
    assert group["error_after"] == pytest.approx(errors[step], rel=1e-4)
    assert errors[step] <= min(errors) * (1 + 1e-4)
    return step


def _codes_are(out: dict, name: str, scaled: np.ndarray, importance: np.ndarray) -> None:
    codes, scales = int4(scaled, "mse", importance)
    assert (models.codes_of(out[f"{name}_packed"]) == codes).all(), name
    assert out[f"{name}_scale"].tobytes() == scales.astype(BF16).tobytes(), name


def _check_norm(out: dict, report: dict, tensors: dict, known: dict, norm: str, leaves: list[str], plus_one: bool):
    """Returns what the readers' columns were multiplied by."""
    names = [name for name in tensors if name.startswith(LAYER) and name.split(".")[-2] in leaves]
    squares = _floored(known[f"{names[0]}.mean_square"])
    factors = [_norm(tensors[norm], _scales(squares, step), plus_one) for step in range(STEPS + 1)]
    searched = [tensors[name] for name in names if f"{name}_packed" in out]
    step = _best(report, norm, lambda step, clip: _error(searched, factors[step][1], squares, clip))
    stored, columns = factors[step]
    assert out[norm].tobytes() == stored.tobytes()
    assert sorted(_group(report, norm)["into"]) == sorted(names)
    return columns.astype(F32), _importance(columns, squares)


def _check_rows(out: dict, report: dict, tensors: dict, known: dict, names: tuple[str, str], repeat: int, width: int):
    """Returns factors of the rows of the one and of the columns of the other."""
    before, after = names
    squares = _floored(known[f"{after}.mean_square"])
    channel = np.arange(len(squares)) // (width * repeat) * width + np.arange(len(squares)) % width
    each = np.bincount(channel, squares) / repeat
    rows = [(1 / _scales(each, step)).astype(F32) for step in range(STEPS + 1)]
    columns = [(1 / one).astype(F32)[channel].astype(np.float64) for one in rows]
    step = _best(report, before, lambda step, clip: _error([tensors[after]], columns[step], squares, clip))
    assert _group(report, before)["into"] == [after]
    return rows[step][:, None], columns[step].astype(F32), _importance(columns[step], squares)


@pytest.mark.parametrize(
    ("about", "norm_names", "heads", "plus_one", "dtype"),
    [
        ({"model_type": "llama"}, NORMS, 2, False, BF16),
        ({"model_type": "qwen3", "num_key_value_heads": 4}, NORMS, 4, False, np.float32),
        ({"model_type": "gemma3_text"}, ["input_layernorm", "pre_feedforward_layernorm"], 2, True, BF16),
        ({"model_type": "gemma"}, NORMS, 2, True, np.float16),
    ],
)
def test_a_layer(
    tmp_path: Path, about: dict, norm_names: list[str], heads: int, plus_one: bool, dtype: np.dtype
) -> None:
    rng = np.random.default_rng(5)
    tensors = models.dense(rng, dtype, heads) | models.norms(rng, norm_names, dtype)
    tensors["model.norm.weight"] = np.ones(256, dtype)
    known = models.statistics(rng, tensors)
    out, report = _convert(tmp_path, tensors, about, known)
    first, second = (f"{LAYER}{name}.weight" for name in norm_names)
    read, of_read = _check_norm(out, report, tensors, known, first, ["q_proj", "k_proj", "v_proj"], plus_one)
    fed, of_fed = _check_norm(out, report, tensors, known, second, ["gate_proj", "up_proj"], plus_one)
    values = (f"{ATTENTION}v_proj.weight", f"{ATTENTION}o_proj.weight")
    v_rows, o_columns, of_o = _check_rows(out, report, tensors, known, values, 4 // heads, 64)
    gated = (f"{MLP}up_proj.weight", f"{MLP}down_proj.weight")
    up_rows, down_columns, of_down = _check_rows(out, report, tensors, known, gated, 1, 384)
    factors = {
        "q_proj": (read, 1, of_read),
        "k_proj": (read, 1, of_read),
        "v_proj": (read, v_rows, of_read),
        "o_proj": (o_columns, 1, of_o),
        "gate_proj": (fed, 1, of_fed),
        "up_proj": (fed, up_rows, of_fed),
        "down_proj": (down_columns, 1, of_down),
    }
    for name, (columns, rows, importance) in factors.items():
        whole = f"{MLP if name in ('gate_proj', 'up_proj', 'down_proj') else ATTENTION}{name}.weight"
        _codes_are(out, whole, tensors[whole].astype(F32) * columns * F32(1) * rows, importance)
    assert out["model.norm.weight"].tobytes() == tensors["model.norm.weight"].tobytes()
    assert len(report["scaled"]) == 4
    for group in report["scaled"]:
        assert group["error_after"] < 0.9 * group["error_before"], group
    assert _verified(tmp_path) == 0


def _verified(folder: Path) -> int:
    given = ["--calibration", folder / "statistics.safetensors", "-q"]
    return opswap("verify", folder / "source", folder / "out", *given).returncode


def test_a_router_is_scaled_with_the_experts_and_stays_bf16(tmp_path: Path) -> None:
    rng = np.random.default_rng(6)
    experts = f"{MLP}experts."
    tensors = {f"{MLP}gate.weight": rng.standard_normal((8, 256)).astype(BF16)}
    for name in ["0.gate_proj", "0.up_proj", "0.down_proj", "1.gate_proj", "1.up_proj", "1.down_proj"]:
        tensors[f"{experts}{name}.weight"] = rng.standard_normal((256, 256)).astype(BF16)
    tensors |= models.norms(rng, ["post_attention_layernorm"])
    known = models.statistics(rng, tensors)
    out, report = _convert(tmp_path, tensors, {"model_type": "qwen3_moe"}, known)
    norm = f"{LAYER}post_attention_layernorm.weight"
    columns, importance = _check_norm(out, report, tensors, known, norm, ["gate", "gate_proj", "up_proj"], False)
    router = (tensors[f"{MLP}gate.weight"].astype(F32) * columns).astype(BF16)
    assert out[f"{MLP}gate.weight"].tobytes() == router.tobytes()
    assert (router != tensors[f"{MLP}gate.weight"]).any()
    _codes_are(
        out, f"{experts}1.up_proj.weight", tensors[f"{experts}1.up_proj.weight"].astype(F32) * columns, importance
    )
    plan = _plan(tmp_path)
    assert [one["from"] for one in plan["folds"]] == [norm]
    unscaled = {one["name"]: one["why"] for one in plan["unscaled"]}
    assert unscaled == {f"{experts}{i}.down_proj.weight": "the statistics have none of experts" for i in range(2)}
    why = {one["name"]: one["why"] for one in plan["tensors"]}
    assert why[f"{MLP}gate.weight"] == f"router; columns times the scales of {norm}"
    assert why[norm] == "a vector, not a matrix; divided by the scales of 5 matrices"


def _plan(folder: Path, *more: object) -> dict:
    given = ["--to", "w4a8_g128_vllm", "--awq", "--calibration", folder / "statistics.safetensors", "--json"]
    ran = opswap("plan", folder / "source", *given, *more)
    assert ran.returncode == 0, ran.stdout
    return json.loads(ran.stdout)


def _dense(folder: Path, about: dict, more: dict | None = None) -> None:
    rng = np.random.default_rng(5)
    tensors = models.dense(rng) | models.norms(rng, NORMS) | (more or {})
    models.write_model(folder, tensors, about, models.statistics(rng, tensors))


def test_the_plan_names_what_is_not_scaled(tmp_path: Path) -> None:
    bias = {f"{ATTENTION}v_proj.bias": np.zeros(128, BF16)}
    _dense(tmp_path, {"model_type": "qwen2"}, bias)
    plan = _plan(tmp_path)
    assert plan["unscaled"] == [
        {"name": f"{ATTENTION}o_proj.weight", "why": "self_attn.v_proj has a bias, which would be rounded"}
    ]
    folds = {one["from"]: one for one in plan["folds"]}
    assert set(folds) == {f"{LAYER}{name}.weight" for name in [*NORMS, "mlp.up_proj"]}
    assert folds[f"{MLP}up_proj.weight"]["into"] == [f"{MLP}down_proj.weight"]
    kept = {one["name"]: one["why"] for one in _plan(tmp_path, "--keep", "*.up_proj.weight")["unscaled"]}
    assert "mlp.up_proj is kept" in kept[f"{MLP}down_proj.weight"]


def test_heads_that_config_does_not_tell_are_not_scaled(tmp_path: Path) -> None:
    _dense(tmp_path, {"model_type": "llama", "num_key_value_heads": 4})
    [one] = _plan(tmp_path)["unscaled"]
    assert one["name"] == f"{ATTENTION}o_proj.weight"
    assert "4 heads of 64, 4 of them with values, are not its 256 columns and v_proj's 128 rows" in one["why"]


@pytest.mark.parametrize(
    ("about", "more", "to", "code", "words"),
    [
        ({"model_type": "olmo2"}, {}, "w4a8_g128_vllm", "CANNOT_CONVERT", 'model_type "olmo2"'),
        (
            {"model_type": "llama"},
            {"self_attn.x_proj.weight": (8, 256)},
            "w4a8_g128_vllm",
            "CANNOT_CONVERT",
            "x_proj may read",
        ),
        (
            {"model_type": "llama"},
            {"input_layernorm.bias": (256,)},
            "w4a8_g128_vllm",
            "CANNOT_CONVERT",
            "more than a weight",
        ),
        ({"model_type": "llama"}, {}, "fp8_block128", "CANNOT_CONVERT", "fp8_block128 has no INT4"),
    ],
)
def test_what_is_not_known_is_refused(
    tmp_path: Path, about: dict, more: dict[str, tuple[int, ...]], to: str, code: str, words: str
) -> None:
    _dense(tmp_path, about, {f"{LAYER}{name}": np.ones(shape, BF16) for name, shape in more.items()})
    given = ["--to", to, "--awq", "--calibration", tmp_path / "statistics.safetensors"]
    ran = opswap(tmp_path / "source", tmp_path / "out", *given)
    error = json.loads(ran.stdout.splitlines()[-1])
    assert error["code"] == f"OPSWAP_E_{code}"
    assert words in error["message"]
    assert not (tmp_path / "out").exists()


def test_statistics_are_asked_for(tmp_path: Path) -> None:
    _dense(tmp_path, {"model_type": "llama"})
    ran = opswap(tmp_path / "source", tmp_path / "out", "--to", "w4a8_g128_vllm", "--awq")
    error = json.loads(ran.stdout.splitlines()[-1])
    assert error["code"] == "OPSWAP_E_CALIBRATION"
    assert "opswap.adapters.vllm.calibration" in error["remedy"]


def test_the_python_api_has_the_groups(tmp_path: Path) -> None:
    _dense(tmp_path, {"model_type": "llama"})
    given = {"to": "w4a8_g128_vllm", "awq": True, "calibration": tmp_path / "statistics.safetensors"}
    report = opswap_python.convert(tmp_path / "source", tmp_path / "out", **given)
    assert [one.of for one in report.scaled] == [one["from"] for one in report.data["scaled"]]
    assert report.scaled and all(0 < one.error_after < one.error_before for one in report.scaled)
    assert report.scaled[-1].into
