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


def products_of_codes(values: dict[str, Any]) -> np.ndarray:
    """Rows of query by a power of two that leaves the largest of 128 to 256, probabilities by one that leaves the
    largest of more than 128 up to 256."""
    query, length = values["query"].astype(np.float64), int(values["seq_lens"][0])
    blocks = values["block_table"][0, : -(-length // CASE["BS"])]
    keys, cached = (
        values[name][blocks, 0].reshape(-1, CASE["D"])[:length].astype(np.float64)
        for name in ("key_cache", "value_cache")
    )
    power = 2.0 ** (np.floor(np.log2(np.abs(query).max(-1, keepdims=True))) - 7)
    scores = np.einsum("thd,pd->thp", rounded(query / power) * power, keys)
    scores *= values["softmax_scale"] * values["k_scale"][0] * np.log2(np.e)
    behind = length - len(query) + np.arange(len(query))[:, None] - np.arange(length)
    scores = np.where(behind[:, None] < 0, -np.inf, scores)
    weights = 2.0 ** (scores - np.ceil(scores.max(-1, keepdims=True)) + 8)
    out = np.einsum("thp,pv->thv", rounded(weights), cached) / weights.sum(-1, keepdims=True)
    return out * values["v_scale"][0]


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
