"""Decoding on the emulated library: sequences are cut over any number of SMs, by the words that a host writes."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import opswap
import pytest
from rooms import ROOT, Room, aligned, build
from test_emulated import SANITIZED, on_device

sys.path.insert(0, str(ROOT / "kernels"))
from common.ref_attention_plan import plan_words

pytestmark = pytest.mark.skipif(SANITIZED is not None, reason="a sanitizer's library has no CPU code to compare with")
DECODE = Room(ROOT / "kernels/attention_decode")
TYPES = {"scalar": "bfloat16", "cache": "bfloat16", "float": "float32", "table": "int32"}
LENGTHS = (300, 0, 5, 900)
NONE = ["k_scale", "v_scale", "k_scale_cache", "v_scale_cache", "sinks", "plan"]
CASE = {"lens": [[1, n] for n in LENGTHS], "QH": 8, "KH": 1, "D": 64, "V": 64, "BS": 16, "KS": 0, "none": NONE}


def decoded(values: dict[str, Any], sms: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Out and lse, which were NaN, and the words at the beginning of the workspace."""
    for name in ("out", "lse"):
        values[name][:] = np.nan
    placed, how = [on_device(value) for value in values.values()], {"impl": "sm90", "sm_budget": sms}
    memory = aligned(opswap.workspace_size("attention_decode", *placed, **how))
    opswap.call("attention_decode", *placed, **how, workspace=on_device(memory))
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
