"""Pages of interleaved values on a CPU: the same bits as plain ones, and what is refused."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import opswap
import pytest
from rooms import ROOT, Room, build

sys.path.insert(0, str(ROOT / "kernels"))
from common.ref import INTERLEAVED, interleaved, uninterleaved

PREFILL, INTERLEAVE = Room(ROOT / "kernels/attention_prefill"), Room(ROOT / "kernels/interleave_values")
TYPES = {"scalar": "bfloat16", "cache": "float8_e4m3fn", "float": "float32", "table": "int32"}
NONE = ["k_scale", "v_scale", "k_scale_cache", "v_scale_cache", "sinks", "key_start_loc"]
CASE = {"lens": [[40, 450], [3, 30]], "QH": 4, "KH": 2, "D": 64, "V": 80, "BS": 48, "KS": 0, "none": NONE}


def attended(values: dict[str, Any], **changed: Any) -> np.ndarray:
    values = values | {"out": np.full_like(values["out"], np.nan)} | changed
    opswap.call("attention_prefill", *values.values())
    return values["out"].view(np.uint16)


def test_the_order_is_that_of_the_layout() -> None:
    """docs/layouts.md, written down from there."""
    assert INTERLEAVED.tolist() == [0, 1, 8, 9, 2, 3, 10, 11, 4, 5, 12, 13, 6, 7, 14, 15]
    page = np.arange(32, dtype=np.uint8).reshape(1, 1, 16, 2)  # feature v of slot s is 2 * s + v
    made = np.empty_like(page)
    opswap.call("interleave_values", made, page, False)
    assert made.reshape(2, 16)[1].tolist() == [2 * s + 1 for s in INTERLEAVED]


@pytest.mark.parametrize("pages", [(3, 2, 16, 5), (2, 1, 64, 128)])
def test_the_inverse_gives_the_bytes_back(pages: tuple[int, ...]) -> None:
    plain = np.random.default_rng(0).integers(0, 256, pages, dtype=np.uint8)
    made, back = np.empty_like(plain), np.empty_like(plain)
    opswap.call("interleave_values", made, plain, False)
    opswap.call("interleave_values", back, made, True)
    np.testing.assert_array_equal(made, interleaved(plain))
    np.testing.assert_array_equal(back, plain)
    np.testing.assert_array_equal(uninterleaved(made), plain)


@pytest.mark.parametrize("change", [{}, {"sliding_window": 100}, {"softcap": 5.0}, {"QH": 2, "lens": [[1, 333]]}])
def test_attention_gives_the_same_bits(change: dict[str, Any]) -> None:
    values = build(PREFILL, CASE | change, TYPES)
    plain = attended(values)
    assert not np.isnan(values["out"]).any()
    made = interleaved(values["value_cache"])
    np.testing.assert_array_equal(attended(values, value_cache=made, interleaved_values=True), plain)


@pytest.mark.parametrize(
    ("change", "types", "code", "says"),
    [
        ({}, {"cache": "bfloat16"}, "DTYPE", "value_cache is bfloat16, needs float8_e4m3fn with interleaved_values"),
        ({"BS": 24}, {}, "SHAPE", "value_cache has pages of 24 slots, interleaved_values needs a multiple of 16"),
        ({"fused": True}, {}, "STRIDE", r"value_cache.stride\[2\] is 144, needs 80"),
        (
            {"ragged": True, "BS": 480, "none": ["block_table", *NONE[:-1]]},
            {},
            "ARGUMENT",
            "interleaved_values came with key_start_loc, needs block_table",
        ),
    ],
)
def test_what_cannot_be_interleaved_is_refused(
    change: dict[str, Any], types: dict[str, str], code: str, says: str
) -> None:
    values = build(PREFILL, CASE | change, TYPES | types)
    with pytest.raises(opswap.OpswapError, match=says) as refused:
        attended(values, interleaved_values=True)
    assert code in str(refused.value)


def test_a_page_that_is_not_dense_is_refused() -> None:
    pages = np.zeros((2, 2, 16, 8), np.uint8)
    with pytest.raises(opswap.OpswapError, match=r"stride of out is 16 along dimension 2, needs 8 \(V\)"):
        opswap.call("interleave_values", np.zeros((2, 2, 16, 16), np.uint8)[..., :8], pages, False)
