"""gemm_bf16_split against products in float64 of the float32 weights that its two parts stand for."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import opswap
import pytest
from rooms import Room, rooms

OP = "gemm_bf16_split"
BF16 = np.dtype(ml_dtypes.bfloat16)
#: Each part is rounded to 8 bits, to at most 2^-8 of itself: what both leave out is at most 2^-16 of a weight.
BOUND = 2.0**-16


def room_of(name: str) -> Room:
    return next(room for room in rooms() if room.name == name)


def weights(features: int, length: int) -> np.ndarray:
    """Of magnitudes that are far apart, with both signs."""
    rng = np.random.default_rng(1)
    return (rng.standard_normal((features, length)) * np.exp2(rng.integers(-20, 4, (features, length)))).astype("f4")


def test_two_parts_leave_out_as_little_as_is_said() -> None:
    weight = weights(64, 512)
    hi, lo = room_of(OP).module.split(weight, BF16, 1 / 256)
    whole = hi.astype(np.float64) + lo.astype(np.float64) / 256
    assert (np.abs(whole - weight) <= BOUND * np.abs(weight)).all()
    assert (np.abs(hi.astype(np.float64) - weight) > 100 * BOUND * np.abs(weight)).any(), "one part alone is far off"


@pytest.mark.parametrize("rows", [1, 8, 40])
def test_products_are_those_of_the_float32_weights(rows: int) -> None:
    features, length = 48, 1024
    weight = weights(features, length)
    x = np.random.default_rng(rows).standard_normal((rows, length)).astype(BF16)
    hi, lo = room_of(OP).module.split(weight, BF16, 1 / 256)
    exact = x.astype(np.float64) @ weight.astype(np.float64).T
    magnitudes = np.abs(x.astype(np.float64)) @ np.abs(weight.astype(np.float64)).T
    for impl in [i["name"] for i in opswap.why(OP)["impls"] if i["name"].startswith("cpu")]:
        out = np.full((rows, features), np.nan, np.float32)
        opswap.call(OP, out, x, hi, lo, None, impl=impl)
        assert (np.abs(out - exact) <= BOUND * magnitudes).all(), impl
        alone = np.full((rows, features), np.nan, np.float32)
        opswap.call(OP, alone, x, hi, np.zeros_like(lo), None, impl=impl)
        assert np.abs(alone - exact).max() > 20 * np.abs(out - exact).max(), f"{impl}: the low part changes nothing"
