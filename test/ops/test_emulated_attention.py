"""Decoding on the emulated library: sequences are cut over any number of SMs, by the words that a host writes."""

from __future__ import annotations

from typing import Any

import numpy as np
import opswap
import pytest
from roofline.attention import TILE_KEYS, plan_of
from rooms import ROOT, Room, aligned, build
from test_emulated import SANITIZED, on_device

pytestmark = pytest.mark.skipif(SANITIZED is not None, reason="a sanitizer's library has no CPU code to compare with")
DECODE = Room(ROOT / "kernels/attention_decode")
TYPES = {"scalar": "bfloat16", "float": "float32", "table": "int32"}
LENGTHS = (300, 0, 5, 900)
CASE = {"lens": [[1, n] for n in LENGTHS], "QH": 8, "KH": 1, "D": 64, "V": 64, "BS": 16}


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
    plan = plan_of([-(-n // TILE_KEYS) for n in LENGTHS], sms)
    np.testing.assert_array_equal(words[: len(plan.words)], plan.words)
    if (
        sms == 3
    ):  # 3 tiles, then 1 and 2 of 8, then 6: costs of 11, 16 and 17; 16 would hold no more of the last but one
        assert (plan.payload, plan.rows_before) == (17, [0, 0, 0, 0, 2])


@pytest.mark.parametrize("sms", [1, 12])
def test_the_workspace_is_the_plan_and_two_partial_rows_for_each_border_of_bins(sms: int) -> None:
    values = build(DECODE, CASE, TYPES)
    placed = [on_device(value) for value in values.values()]
    plan = -(-4 * (8 + 4 * (sms + 1) + len(LENGTHS) + 1) // 64) * 64
    rows = 2 * (sms - 1) * CASE["QH"]
    size = opswap.workspace_size("attention_decode", *placed, impl="sm90", sm_budget=sms)
    assert size == plan + rows * (CASE["D"] + 1) * 4
