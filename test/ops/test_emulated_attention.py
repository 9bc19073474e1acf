"""Attention on the emulated library: decoding sequences are cut over any number of SMs, by the words that a host
writes; the state of a prefix that sequences share joins theirs unrounded."""

from __future__ import annotations

import sys
from functools import cache
from typing import Any

import numpy as np
import opswap
import pytest
from rooms import ROOT, Room, aligned, build
from test_attention_invariance import MIXED, batch, cut
from test_batch_invariance import bits, caller
from test_cascade_attention import CASCADE, assert_others_untouched, assert_rounded_once, even_values, outside_values
from test_cascade_attention import CASE as SHARED
from test_emulated import SANITIZED, on_device

sys.path.insert(0, str(ROOT / "kernels"))
from common.ref_attention_plan import plan_words

pytestmark = pytest.mark.skipif(SANITIZED is not None, reason="a sanitizer's library has no CPU code to compare with")
DECODE, PAGED = (Room(ROOT / "kernels" / name) for name in ("attention_decode", "paged_attention"))
TYPES = {"scalar": "bfloat16", "cache": "bfloat16", "float": "float32", "table": "int32"}
LENGTHS = (300, 0, 5, 900)
NONE = ["k_scale", "v_scale", "k_scale_cache", "v_scale_cache", "sinks", "plan"]
CASE = {"lens": [[1, n] for n in LENGTHS], "QH": 8, "KH": 1, "D": 64, "V": 64, "BS": 16, "KS": 0, "none": NONE}


def decoded(
    values: dict[str, Any], sms: int, room: Room = DECODE, before: float = np.nan
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Out and lse, and the words at the beginning of the workspace."""
    for name in ("out", "lse"):
        values[name][:] = before
    placed, how = [on_device(value) for value in values.values()], {"impl": "sm90", "sm_budget": sms}
    memory = aligned(opswap.workspace_size(room.name, *placed, **how))
    opswap.call(room.name, *placed, **how, workspace=on_device(memory))
    return values["out"].astype(np.float64), values["lse"].astype(np.float64), memory.view(np.int32)


@pytest.mark.parametrize("sms", [1, 3, 40])
def test_a_sequence_that_is_cut_gives_what_it_gives_whole(sms: int) -> None:
    values = build(DECODE, CASE, TYPES)
    opswap.call("attention_decode", *values.values(), impl="ref")
    out, lse = values["out"].astype(np.float64), values["lse"].astype(np.float64)
    found, found_lse, words = decoded(values, sms)
    np.testing.assert_allclose(found, out, atol=0.01, rtol=0.016)
    np.testing.assert_allclose(found_lse, lse, atol=1e-3)
    what = [CASE["QH"], CASE["KH"], 1, -1, 1, sms, 0, 0]  # a card of so many SMs is taken for an H100
    plan = plan_words([-(-n // 64) for n in LENGTHS], sms, what)
    np.testing.assert_array_equal(words[: len(plan)], plan)
    if sms == 3:  # 5 units and 1, then 11 and 4 of 15: costs of 16, 16 and 9; with 15 the last bin would have 16
        assert (plan[3], plan[-1]) == (16, 2)


@pytest.mark.parametrize("sms", [1, 12])
def test_the_workspace_is_the_plan_and_two_partial_rows_for_each_border_of_bins(sms: int) -> None:
    values = build(DECODE, CASE, TYPES)
    placed = [on_device(value) for value in values.values()]
    plan = -(-4 * (16 + 4 * 145 + len(LENGTHS) + 1) // 64) * 64
    rows = 2 * (sms - 1) * CASE["QH"]
    size = opswap.workspace_size("attention_decode", *placed, impl="sm90", sm_budget=sms)
    assert size == plan + rows * (CASE["D"] + 1) * 4


#: Of a plan: version, bins, sequences, partial rows, heads of queries and of keys, q_len, window, the kind of batch.
CHECKED = (0, 1, 2, 4, 5, 6, 7, 8, 12)
PLANNED = CASE | {"planned": True, "none": NONE[:-1]}


@pytest.mark.parametrize("heads", [CASE["KH"], 80])
@pytest.mark.parametrize("word", CHECKED)
def test_a_plan_of_another_call_gives_nan(word: int, heads: int) -> None:
    """With 80 heads of keys there is one bin, and no part to put together."""
    values = build(DECODE, PLANNED | {"lens": [[1, 70], [1, 0]], "QH": max(heads, CASE["QH"]), "KH": heads}, TYPES)
    found, found_lse, _ = decoded(values, 3, before=7)
    assert np.isfinite(found).all() and not (found == 7).any()
    values["plan"][word] += 1000
    found, found_lse, _ = decoded(values, 3, before=7)
    assert np.isnan(found).all() and np.isnan(found_lse).all()


def test_a_plan_that_cuts_sequences_gives_nan_where_none_may_be_cut() -> None:
    values = build(DECODE, PLANNED, TYPES) | {"batch_invariant": True}
    found, found_lse, _ = decoded(values, 3, before=7)
    assert np.isnan(found).all() and np.isnan(found_lse).all()


def test_a_plan_of_another_call_leaves_sequences_that_do_not_decode() -> None:
    values = build(PAGED, PLANNED | {"lens": [[1, 70], [33, 40], [1, 5]]}, TYPES)
    opswap.call(PAGED.name, *(values | {"plan": None}).values(), impl="ref")
    right, few = values["out"].astype(np.float64), [0, 34]
    values["plan"][7] = 3
    found, found_lse, _ = decoded(values, 3, PAGED, before=7)
    assert np.isnan(found[few]).all() and np.isnan(found_lse[few]).all()
    np.testing.assert_allclose(np.delete(found, few, 0), np.delete(right, few, 0), atol=0.01, rtol=0.016)
    assert np.isfinite(np.delete(found_lse, few, 0)).all()


def cascaded(values: dict[str, Any], sms: int) -> tuple[np.ndarray, np.ndarray]:
    for name in ("out", "lse"):
        values[name][:] = np.nan
    placed, how = [on_device(value) for value in values.values()], {"impl": "sm90", "sm_budget": sms}
    memory = aligned(opswap.workspace_size("cascade_attention", *placed, **how))
    opswap.call("cascade_attention", *placed, **how, workspace=on_device(memory))
    return values["out"].astype(np.float64), values["lse"].astype(np.float64)


@pytest.mark.parametrize("sms", [1, 4, 40])
@pytest.mark.parametrize("prefix_len", [900, 4200])
def test_a_cascade_rounds_once(prefix_len: int, sms: int) -> None:
    values = even_values(prefix_len)
    assert_rounded_once(values, cascaded(values, sms))


@pytest.mark.parametrize("sms", [1, 40])
def test_rows_of_no_sequence_stay_as_they_are(sms: int) -> None:
    values = outside_values()
    assert_others_untouched(values, cascaded(values, sms))


@pytest.mark.parametrize(("prefix_len", "sms", "parts"), [(900, 40, 1), (4200, 1, 1), (4200, 4, 2), (4200, 40, 8)])
def test_the_workspace_of_a_cascade_has_the_prefixs_states(prefix_len: int, sms: int, parts: int) -> None:
    """The rows are a tile of each of two heads; other SMs take parts of at least 512 keys, of 33 tiles in 8 none the
    last. Without the mask nothing else is cut."""
    values = build(CASCADE, {**SHARED, "prefix_len": prefix_len, "causal": False, "none": NONE}, TYPES)
    how = {"impl": "sm90", "sm_budget": sms}
    size = opswap.workspace_size("cascade_attention", *[on_device(value) for value in values.values()], **how)
    assert size == parts * 5 * SHARED["QH"] * (SHARED["V"] + 1) * 4


@pytest.mark.parametrize("sequences", [[1], [4], [6, 3, 0], list(range(len(MIXED)))[::-1]])
def test_a_sequence_of_a_cascade_has_the_same_bits_in_every_batch(sequences: list[int]) -> None:
    values = batch(CASCADE, {"prefix_len": 900}, TYPES)
    run = caller("sm90", on_device)
    made, rows = cut(values, sequences)
    np.testing.assert_array_equal(bits(run(CASCADE, made)), bits(whole_batch())[rows])


@cache
def whole_batch() -> np.ndarray:
    return caller("sm90", on_device)(CASCADE, batch(CASCADE, {"prefix_len": 900}, TYPES))
