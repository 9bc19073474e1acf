"""Ids out of range: errors on a CPU, before anything is written. What a device does: test_emulated_routing.py."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import opswap
import pytest


def test_a_choice_out_of_range() -> None:
    ids = np.array([[0, 5], [1, 2]], np.int32)
    codes, scale = np.zeros((4, 128), np.uint8), np.full((4, 1), -1, np.float32)
    out = codes.view(ml_dtypes.float8_e4m3fn)
    first, row_of = np.full(4, -1, np.int32), np.full(ids.shape, -7, np.int32)
    rows = np.ones((2, 128), np.float32)
    with pytest.raises(opswap.OpswapError, match=r"topk_ids\[0\]\[1\] is 5, needs -1 to 2"):
        opswap.call("moe_permute_quant_fp8", out, scale, first, row_of, rows, ids, None, None)
    assert (first == -1).all() and (row_of == -7).all() and (scale == -1).all() and not codes.any()


@pytest.mark.parametrize(
    ("tokens", "words"), [([0, 1, 2], r"input_tokens\[2\] is 2"), ([0, 1, 0], r"table\[1\]\[1\] is 8, needs 0 to ")]
)
def test_ids_that_a_table_does_not_have(tokens: list[int], words: str) -> None:
    weights, ids = np.full((3, 2), -1, np.float32), np.full((3, 2), -7, np.int32)
    table = np.array([[1, 2], [3, 8]], np.int32)
    how = (1, 1, True, False)  # sigmoid, not normalised
    with pytest.raises(opswap.OpswapError, match=words):
        opswap.call(
            "grouped_topk", weights, ids, np.zeros((3, 8), np.float32), None, np.array(tokens, np.int32), table, *how
        )
    assert (weights == -1).all() and (ids == -7).all()
