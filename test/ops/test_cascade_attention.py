"""Attention over a shared prefix and own keys: the states of both are put together unrounded, and rows of no sequence
stay as they are. On the emulated kernels: test_emulated_attention.py."""

from __future__ import annotations

from typing import Any

import numpy as np
import opswap
from rooms import ROOT, Room, build
from test_batch_invariance import usable

CASCADE = Room(ROOT / "kernels/cascade_attention")
TYPES = {"scalar": "bfloat16", "cache": "bfloat16", "float": "float32", "table": "int32"}
NONE = ["k_scale", "v_scale", "k_scale_cache", "v_scale_cache", "sinks", "plan"]
#: The prefix is no whole number of tiles.
CASE = {"lens": [[1, 77], [3, 20], [1, 0]], "prefix_len": 900, "QH": 4, "KH": 2, "D": 64, "V": 64, "BS": 16, "KS": 0}
Results = tuple[np.ndarray, np.ndarray]


def even_values(prefix_len: int = CASE["prefix_len"]) -> dict[str, Any]:
    """With queries of zeros all probabilities are 1, so that nothing but out is rounded."""
    values = build(CASCADE, {**CASE, "prefix_len": prefix_len, "none": NONE}, TYPES)
    values["query"][:] = 0
    return values


def rounded(x: np.ndarray, like: np.ndarray) -> np.ndarray:
    return x.astype(like.dtype).astype(np.float64)


def allowed(right: np.ndarray) -> np.ndarray:
    """What one rounding to BF16 changes, and sums of float32 do."""
    return 2.0 ** (np.floor(np.log2(np.maximum(np.abs(right), 1e-30))) - 8) + 1e-6


def assert_rounded_once(values: dict[str, Any], found: Results) -> None:
    right = CASCADE.module.ref(**values)
    assert (np.abs(found[0] - right["out"]) <= allowed(right["out"])).all()
    np.testing.assert_allclose(found[1], right["lse"], rtol=1e-6)


def outside_values() -> dict[str, Any]:
    """The second sequence alone, rows 1 to 3; those around it are NaN."""
    values = build(CASCADE, {**CASE, "none": NONE}, TYPES)
    values["query_start_loc"] = values["query_start_loc"][1:3]
    values["seq_lens"], values["block_table"] = values["seq_lens"][1:2], values["block_table"][1:2]
    values["query"][[0, 4]] = np.nan
    return values


def assert_others_untouched(values: dict[str, Any], found: Results) -> None:
    right, (out, lse) = CASCADE.module.ref(**values), found
    np.testing.assert_allclose(out[1:4], right["out"][1:4], atol=0.01, rtol=0.016)
    np.testing.assert_allclose(lse[1:4], right["lse"][1:4], atol=1e-3)
    assert np.isnan(out[[0, 4]]).all() and np.isnan(lse[[0, 4]]).all()


def called(values: dict[str, Any], impl: str) -> Results:
    for name in ("out", "lse"):
        values[name][:] = np.nan
    opswap.call("cascade_attention", *values.values(), impl=impl)
    return values["out"].astype(np.float64), values["lse"].astype(np.float64)


def impls() -> list[str]:  # asked in the tests: another build's library may lack the op as they are collected
    return ["ref", *usable("cascade_attention")]


def test_a_cascade_rounds_once() -> None:
    for impl in impls():
        values = even_values()
        assert_rounded_once(values, called(values, impl))


def test_rows_of_no_sequence_stay_as_they_are() -> None:
    for impl in impls():
        values = outside_values()
        assert_others_untouched(values, called(values, impl))


def test_states_of_16_bits_would_be_found() -> None:
    values = even_values()
    right = CASCADE.module.ref(**values)
    halves = {"prefix_len": 0}, {"seq_lens": np.zeros_like(values["seq_lens"])}
    twice = np.zeros_like(right["out"])
    for half in halves:
        state = CASCADE.module.ref(**{**values, **half})
        twice += rounded(state["out"], values["out"]) * np.exp(state["lse"] - right["lse"])[..., None]
    off = np.abs(rounded(twice, values["out"]) - right["out"])
    assert (off > allowed(right["out"])).sum() > 50
