"""Grouped products on the emulated library: plans word for word as the CPU makes them, records of anything else that
write nothing, offsets and indices out of range that lead nowhere, tiles cut along K, and useful rows of wgmma."""

from __future__ import annotations

import ctypes
import json
import os
from typing import Any

import ml_dtypes
import numpy as np
import opswap
import pytest
from group_plans import Batch, Record, made, random_batch, words
from rooms import aligned
from test_emulated import SANITIZED, on_device

pytestmark = pytest.mark.skipif(
    SANITIZED is not None, reason="a sanitizer's library has no CPU code to compare with, and is slow for all SMs"
)
BF16 = np.dtype(ml_dtypes.bfloat16)
#: Random batches; a sweep of 10,000 is OPSWAP_GROUP_PLANS=10000 with this file's test of plans.
BATCHES = int(os.environ.get("OPSWAP_GROUP_PLANS", "40"))


def test_the_device_writes_the_words_that_the_cpu_writes() -> None:
    rng = np.random.default_rng(7)
    for _ in range(BATCHES):
        batch = random_batch(rng)
        np.testing.assert_array_equal(made(batch, "sm90", on_device), made(batch, "ref"), err_msg=str(batch))


def run(*args: Any) -> None:
    """grouped_gemm_bf16 on a few SMs, which the emulator is quicker with, and the workspace that it asks for."""
    placed, how = [on_device(value) for value in args], {"impl": "sm90", "sm_budget": 6}
    memory = aligned(opswap.workspace_size("grouped_gemm_bf16", *placed, **how))
    opswap.call("grouped_gemm_bf16", *placed, **how, workspace=on_device(memory) if memory.size else None)


def product(
    batch: Batch, plan: np.ndarray | None = None, index: np.ndarray | None = None, rows: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """What a call of grouped_gemm_bf16 leaves in out, which was 5, and what it should leave."""
    rng = np.random.default_rng(1)
    x = rng.standard_normal((batch.rows, batch.k)).astype(BF16)
    w = rng.standard_normal((len(batch.sizes), batch.n, batch.k)).astype(BF16)
    out = np.full((batch.rows, batch.n), 5, BF16)
    given = batch.index if index is None else index
    run(out, x, w, *([None, given] if batch.capacity else [given, None]), rows, plan, batch.batch_invariant)
    expected = np.full(out.shape, 5, np.float64)
    for g, size in enumerate(batch.sizes):
        begin = g * batch.capacity if batch.capacity else int(batch.index[g])
        of = x[begin : begin + size] if rows is None else x[rows[begin : begin + size].clip(0, batch.rows - 1)]
        expected[begin : begin + size] = of.astype(np.float64) @ w[g].astype(np.float64).T
    return out.astype(np.float64), expected


def close(out: np.ndarray, expected: np.ndarray) -> None:
    np.testing.assert_allclose(out, expected, atol=0.05, rtol=0.016)


def test_tiles_cut_along_k_are_added_up() -> None:
    batch = Batch([3, 0, 9], 0, 1, 14, 40, 1088, 2, 2)
    record = Record(made(batch))
    assert record.head["whole"] < record.head["tiles"] and record.head["blocks"] > 2
    close(*product(batch))
    close(*product(batch, made(batch)))


def test_a_plan_is_used_and_not_made_again() -> None:
    """One launch fewer; and where its rows are others than those of the offsets, its own count."""
    batch = Batch([3, 5], 0, 0, 8, 40, 64)
    plan = made(batch)
    launches = ctypes.CDLL("libopswap.so").opswap_emulator_launches
    launches.restype = ctypes.c_char_p
    names = []
    for given in (None, plan):
        launches(1)
        product(batch, given)
        names.append([launch["kernel"] for launch in json.loads(launches(1))])
    assert names[0] == ["plan_groups_kernel", *names[1]] and len(names[1]) == 1
    out, expected = product(batch, plan, index=np.array([0, 1, 2], np.int32))
    close(out, expected)


@pytest.mark.parametrize("offsets", [[0, 5, 3], [0, 3, 9], [-1, 3, 8], [0, 2**31 - 1, -(2**31)]])
def test_offsets_that_do_not_fit_write_nothing(offsets: list[int]) -> None:
    out, _ = product(Batch([3, 5], 0, 0, 8, 40, 64), index=np.array(offsets, np.int32))
    assert (out == 5).all()


def test_counts_that_do_not_fit_write_nothing() -> None:
    out, _ = product(Batch([3, 4], 4, 0, 8, 40, 64), index=np.array([3, 5], np.int32))
    assert (out == 5).all()


def test_a_record_of_anything_else_writes_nothing() -> None:
    batch = Batch([3, 5], 0, 0, 8, 40, 64)
    for other in (
        Batch([3, 5], 0, 0, 9, 40, 64),
        Batch([3, 5], 0, 0, 8, 48, 64),
        Batch([3, 5], 0, 0, 8, 40, 128),
        Batch([3, 5], 0, 0, 8, 40, 64, 1),
        Batch([3, 4], 4, 0, 8, 40, 64),
    ):
        assert (product(batch, made(other))[0] == 5).all()
    assert (product(Batch(**{**vars(batch), "batch_invariant": True}), made(batch))[0] == 5).all()
    for word, value in ((0, 2), (10, 1), (11, 99), (12, 7), (17, 0), (17, 133), (9, -1)):
        plan = made(batch)
        plan[word] = value
        out, expected = product(batch, plan)
        assert (out == 5).all() or np.allclose(out, expected, atol=0.05, rtol=0.016)


def test_any_words_behind_the_header_stay_inside() -> None:
    """The emulator stops a kernel that reads or writes outside of a tensor."""
    rng = np.random.default_rng(3)
    batch = Batch([3, 5, 0, 9], 0, 0, 17, 40, 64)
    for _ in range(6):
        plan = made(batch)
        plan[32:] = rng.choice([-(2**31), -5, 0, 1, 3, 17, 18, 2**31 - 1], plan.size - 32)
        product(batch, plan)


def test_row_indices_out_of_range_are_rows_of_zeros() -> None:
    batch = Batch([3, 5], 0, 0, 8, 40, 64)
    rows = np.array([7, 0, 99, 1, -1, 2, 2, 3], np.int32)
    out, expected = product(batch, rows=np.where((rows < 0) | (rows > 7), 0, rows).astype(np.int32))
    close(out, expected)
    wrong, _ = product(batch, rows=rows)
    np.testing.assert_array_equal(wrong[[0, 1, 3, 5, 6, 7]], out[[0, 1, 3, 5, 6, 7]])
    assert (wrong[[2, 4]] == 0).all()


def test_a_row_has_the_same_bits_in_every_batch() -> None:
    rng = np.random.default_rng(4)
    k, n, row = 1088, 40, rng.standard_normal(1088).astype(BF16)
    w, bits = rng.standard_normal((1, n, k)).astype(BF16), set()
    for rows, at in ((1, 0), (7, 3), (9, 8), (65, 64), (130, 70)):
        x = rng.standard_normal((rows, k)).astype(BF16)
        x[at] = row
        out, first = np.zeros((rows, n), BF16), np.array([0, rows], np.int32)
        run(out, x, w, first, None, None, None, True)
        bits.add(out[at].tobytes())
    assert len(bits) == 1


def test_the_workspace_is_what_a_call_needs() -> None:
    batch = Batch([3, 5], 0, 0, 8, 40, 64)
    kept = np.zeros((8, 40), BF16), np.zeros((8, 64), BF16), np.zeros((2, 40, 64), BF16), batch.index, made(batch)
    *args, plan = map(on_device, kept)
    assert opswap.workspace_size("grouped_gemm_bf16", *args, None, None, None, False, impl="sm90") == 4 * words(2)
    assert opswap.workspace_size("grouped_gemm_bf16", *args, None, None, plan, False, impl="sm90") == 0
    short = aligned(4 * words(2) - 1)
    with pytest.raises(opswap.OpswapError) as caught:
        opswap.call("grouped_gemm_bf16", *args, None, None, None, False, impl="sm90", workspace=on_device(short))
    assert caught.value.code == "OPSWAP_E_WORKSPACE"
