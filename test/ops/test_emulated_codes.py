"""Prefill whose products are those of FP8 codes, on the emulated library: against float64 of the codes that it is to
multiply, worked out here from their definition."""

from __future__ import annotations

import sys
from typing import Any

import ml_dtypes
import numpy as np
import opswap
import pytest
from rooms import ROOT, Room, build
from test_emulated import SANITIZED, on_device

sys.path.insert(0, str(ROOT / "kernels"))
from common.ref import interleaved

pytestmark = pytest.mark.skipif(SANITIZED is not None, reason="the cases of the room run under sanitizers")
PREFILL = Room(ROOT / "kernels/attention_prefill")
TYPES = {"scalar": "bfloat16", "cache": "float8_e4m3fn", "float": "float32", "table": "int32"}
NONE = ["k_scale_cache", "v_scale_cache", "sinks", "key_start_loc"]
CASE = {
    "lens": [[40, 450]],
    "QH": 2,
    "KH": 1,
    "D": 128,
    "V": 128,
    "BS": 16,
    "KS": 1,
    "fp8_products": True,
    "none": NONE,
}


def rounded(x: np.ndarray) -> np.ndarray:
    return x.astype(np.float32).astype(ml_dtypes.float8_e4m3fn).astype(np.float64)


def scores_of_codes(values: dict[str, Any]) -> np.ndarray:
    """As powers of two; rows of query by a power of two that leaves the largest of 128 to 256."""
    query, length = values["query"].astype(np.float64), int(values["seq_lens"][0])
    keys = cached(values, "key_cache")
    power = 2.0 ** (np.floor(np.log2(np.abs(query).max(-1, keepdims=True))) - 7)
    scores = np.einsum("thd,pd->thp", rounded(query / power) * power, keys)
    scores *= values["softmax_scale"] * values["k_scale"][0] * np.log2(np.e)
    behind = length - len(query) + np.arange(len(query))[:, None] - np.arange(length)
    return np.where(behind[:, None] < 0, -np.inf, scores)


def products_of_codes(values: dict[str, Any]) -> np.ndarray:
    """Probabilities by a power of two that leaves the largest of more than 128 up to 256."""
    scores = scores_of_codes(values)
    weights = 2.0 ** (scores - np.ceil(scores.max(-1, keepdims=True)) + 8)
    out = np.einsum("thp,pv->thv", rounded(weights), cached(values, "value_cache")) / weights.sum(-1, keepdims=True)
    return out * values["v_scale"][0]


def slots(values: dict[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    """The block and the place in it of each key."""
    keys = np.arange(int(values["seq_lens"][0]))
    return values["block_table"][0, keys // CASE["BS"]], keys % CASE["BS"]


def cached(values: dict[str, Any], name: str) -> np.ndarray:
    blocks, places = slots(values)
    return values[name][blocks, 0, places].astype(np.float64)


def attended(values: dict[str, Any]) -> np.ndarray:
    values["out"][:] = np.nan
    opswap.call("attention_prefill", *(on_device(value) for value in values.values()), impl="sm90")
    return values["out"].astype(np.float64)


def test_codes_are_multiplied_as_they_are_said_to_be() -> None:
    values = build(PREFILL, CASE, TYPES)
    got, wanted = attended(values), products_of_codes(values)
    np.testing.assert_allclose(got, wanted, atol=2e-3, rtol=2**-7)
    assert 1 - (got * wanted).sum() / np.sqrt((got * got).sum() * (wanted * wanted).sum()) < 1e-5
    exact = PREFILL.module.ref(**values)["out"]
    far = 1 - (exact * wanted).sum() / np.sqrt((exact * exact).sum() * (wanted * wanted).sum())
    assert far > 1e-4, "a test that rounding does not show in finds nothing"


# The first row of [64, 447] sees two whole tiles of 192 keys, and nothing of the third one, which comes first.
@pytest.mark.parametrize("lens", [[40, 450], [64, 447], [3, 193]])
@pytest.mark.parametrize("ends", [(-96, -6), (-6, -96), (6, 96), (96, 6), (-48, 48), (48, -48)])
def test_scores_that_grow_or_fall_along_the_keys(lens: list[int], ends: tuple[int, int]) -> None:
    values = build(PREFILL, CASE | {"lens": [lens]}, TYPES)
    blocks, places = slots(values)
    unit = values["softmax_scale"] * values["k_scale"][0] * np.log2(np.e) * 8
    values["key_cache"][blocks, 0, places, 0] = np.linspace(*(end / 8 for end in ends), lens[1])
    values["query"][..., 0] = 8 / unit
    got, wanted, scores = attended(values), products_of_codes(values), scores_of_codes(values)
    np.testing.assert_allclose(got, wanted, atol=1e-2, rtol=2**-7)
    sums = np.log(2) * np.logaddexp2.reduce(scores, axis=-1)
    np.testing.assert_allclose(values["lse"], sums, atol=2e-5, rtol=2e-6)


@pytest.mark.parametrize("change", [{}, {"D": 64, "V": 64, "sliding_window": 100, "BS": 48}, {"D": 256, "V": 256}])
def test_interleaved_values_give_the_same_bits(change: dict[str, Any]) -> None:
    values = build(PREFILL, CASE | change, TYPES)
    plain = attended(values)
    values["value_cache"][:] = interleaved(values["value_cache"])
    np.testing.assert_array_equal(attended(values | {"interleaved_values": True}), plain)


@pytest.mark.parametrize("sign", ["softmax_scale", "k_scale"])
def test_a_scale_below_0_turns_the_order_of_scores(sign: str) -> None:
    values = build(PREFILL, CASE, TYPES)
    values[sign] = -values[sign]
    got, wanted = attended(values), products_of_codes(values)
    np.testing.assert_allclose(got, wanted, atol=2e-3, rtol=2**-7)


def test_an_infinite_query_makes_its_row_nan_and_no_other() -> None:
    values = build(PREFILL, CASE, TYPES)
    values["query"][3, 1, 5] = np.inf
    assert np.argwhere(np.isnan(attended(values)).any(-1)).tolist() == [[3, 1]]


def test_rows_of_zeros_see_all_keys_alike() -> None:
    values = build(PREFILL, CASE, TYPES)
    values["query"][:] = 0
    got, wanted = attended(values), PREFILL.module.ref(**values)["out"]
    np.testing.assert_allclose(got, wanted, atol=2e-3, rtol=2**-7)
