"""Routing and permutation on the emulated library: launches and traffic beside the steps they replace, and ids that are
out of range, of which nothing but their own choice may suffer."""

from __future__ import annotations

import ctypes
import json
import os
from typing import Any

import ml_dtypes
import numpy as np
import opswap
import pytest
from rooms import aligned
from test_emulated import on_device

pytestmark = pytest.mark.skipif(
    "libtsan" in os.environ.get("LD_PRELOAD", ""),
    reason="ThreadSanitizer counts each thread of a kernel, 8128 at most, and these launches have more",
)
SECTOR = 32  # bytes
BF16, E4M3 = np.dtype(ml_dtypes.bfloat16), np.dtype(ml_dtypes.float8_e4m3fn)


def placed(value: Any) -> Any:
    """A copy that begins with a sector."""
    if not isinstance(value, np.ndarray):
        return value
    memory = aligned(value.nbytes).view(value.dtype).reshape(value.shape)
    memory[...] = value
    return memory


def counted(op: str, *args: Any) -> tuple[int, int]:
    """Launches of a call, and the bytes that they ask memory for."""
    launches = ctypes.CDLL("libopswap.so").opswap_emulator_launches
    launches.restype = ctypes.c_char_p
    launches(1)
    opswap.call(op, *(on_device(a) for a in args), impl="sm90")
    found = json.loads(launches(1))
    sectors = (launch["counters"][f"{way}_sectors"] for launch in found for way in ("load", "store"))
    return len(found), SECTOR * sum(sectors)


def permuted(features: int, experts: int, ids: np.ndarray, mn_major: bool = False) -> list[Any]:
    """Arguments of moe_permute_quant_fp8 up to topk_ids."""
    rows, groups = ids.size, features // 128
    return [
        np.zeros((rows, features), E4M3),
        np.full((groups, rows) if mn_major else (rows, groups), -1, np.float32),
        np.full(experts + 1, -1, np.int32),
        np.full(ids.shape, -7, np.int32),
        np.random.default_rng(3).standard_normal((len(ids), features)).astype(BF16),
        ids.astype(np.int32),
    ]


@pytest.mark.parametrize("mn_major", [False, True])
def test_one_launch_permutes_multiplies_and_quantises(mn_major: bool) -> None:
    tokens, choices, features, experts = 512, 8, 2048, 128
    ids = np.random.default_rng(1).integers(0, experts, (tokens, choices))
    args = map(placed, (*permuted(features, experts, ids, mn_major), np.ones((1, features), BF16)))
    launches, moved = counted("moe_permute_quant_fp8", *args, None, 1, mn_major)
    rows = tokens * choices
    permute = 2 * features * (tokens + rows) + 4 * 2 * rows  # tokens, rows, ids and places
    quantise = features * (2 * rows + 2 + rows) + 4 * rows * features // 128  # rows, factors, codes and scales
    assert launches == 1
    assert moved <= 0.45 * (permute + quantise), moved / (permute + quantise)


#: What torch does for a token's choice of K out of the best 4 of 8 groups of 32 experts: bytes that each kernel reads
#: and writes. E floats are scores, 8 bytes an index, 1 a truth value.
E, GROUPS, KEPT, K = 256, 8, 4, 8
COMPOSITION = {
    "float": (2 * E, 4 * E),
    "sigmoid": (4 * E, 4 * E),
    "add bias": (4 * E, 4 * E),
    "topk of groups": (4 * E, GROUPS * 2 * 12),
    "sum of two": (GROUPS * 2 * 4, GROUPS * 4),
    "topk groups": (GROUPS * 4, KEPT * 12),
    "zeros": (0, GROUPS * 4),
    "scatter": (KEPT * 8, KEPT * 4),
    "expand": (GROUPS * 4, 4 * E),
    "bool": (4 * E, E),
    "not": (E, E),
    "masked_fill": (4 * E + E, 4 * E),
    "topk": (4 * E, K * 12),
    "gather": (K * 12, K * 4),
    "sum": (K * 4, 4),
    "add": (4, 4),
    "div": (K * 4 + 4, K * 4),
    "mul": (K * 4, K * 4),
}


@pytest.mark.parametrize("tokens", [1, 512])
def test_routing_moves_a_fifth_of_what_its_composition_does(tokens: int) -> None:
    logits = np.random.default_rng(2).standard_normal((tokens, E)).astype(BF16)
    weights, ids = np.zeros((tokens, K), np.float32), np.zeros((tokens, K), np.int32)
    bias = np.zeros(E, np.float32)
    how = (GROUPS, KEPT, True, True, 2.5)
    args = map(placed, (weights, ids, logits, bias))
    launches, moved = counted("grouped_topk", *args, None, None, *how)
    assert launches == 1 and len(COMPOSITION) == 18
    composed = tokens * sum(map(sum, COMPOSITION.values())) + bias.nbytes
    once = moved if tokens == 1 else moved - (min(tokens, 132) - 1) * bias.nbytes  # blocks share it in the cache
    assert once <= 0.2 * composed, once / composed


def test_a_choice_out_of_range_is_left_out() -> None:
    """A device cannot say so, and writes nothing anywhere for it; on a CPU see test_routing_refusals.py."""
    ids = np.array([[0, 5], [-9, 1], [2**31 - 1, 0], [3, 1]])
    args = permuted(256, 3, ids)
    counted("moe_permute_quant_fp8", *args, None, None)
    _codes, scale, first, row_of, *_ = args
    np.testing.assert_array_equal(row_of, [[0, -1], [-1, 2], [-1, 1], [-1, 3]])
    np.testing.assert_array_equal(first, [0, 2, 4, 4])
    assert (scale[:4] > 0).all() and (scale[4:] == -1).all()


def test_ids_that_a_table_does_not_have() -> None:
    """Neither a token beyond the table nor an expert beyond the logits is read."""
    logits = np.zeros((3, 8), np.float32)
    weights, ids = np.zeros((3, 2), np.float32), np.full((3, 2), -7, np.int32)
    table = np.array([[1, 2], [3, 8]], np.int32)
    how = (1, 1, True, False)  # sigmoid, not normalised
    args = (weights, ids, logits, None, np.array([0, 1, 2], np.int32), table)
    counted("grouped_topk", *args, *how)
    np.testing.assert_array_equal(ids, [[1, 2], [3, -1], [-1, -1]])
    np.testing.assert_array_equal(weights, [[0.5, 0.5], [0.5, np.nan], [np.nan, np.nan]])


def test_a_table_needs_the_tokens() -> None:
    weights, ids, logits = np.zeros((3, 2), np.float32), np.zeros((3, 2), np.int32), np.zeros((3, 8), np.float32)
    tokens, table = np.zeros(3, np.int32), np.zeros((4, 2), np.int32)
    for given in ((tokens, None), (None, table), (tokens[:2], table), (tokens, table[:, :1])):
        for place in (on_device, lambda value: value):
            with pytest.raises(opswap.OpswapError, match="grouped_topk: "):
                opswap.call("grouped_topk", *(place(a) for a in (weights, ids, logits, None, *given)))
