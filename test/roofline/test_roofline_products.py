"""The rows of matrix products: balance and traffic that a hand can count, and what the emulator says of them."""

from __future__ import annotations

import os
import re
from pathlib import Path

import numpy as np
import pytest
from ops.rooms import ROOT, Room
from roofline import groups
from roofline.balance import fits, least_payload
from roofline.cards import DEVICES, TENSOR_CLOCKS, delivered
from roofline.cases import product_rooms, run
from roofline.count import SECTOR, Counted, summed
from roofline.plans import KINDS, figures, least_bytes, planned
from roofline.products import FEW, MOST_IMBALANCE, useful_at

LIBRARY = os.environ.get("OPSWAP_EMULATED_LIBRARY", "")
needs_emulator = pytest.mark.skipif(not LIBRARY, reason="OPSWAP_EMULATED_LIBRARY names no library; npm test builds one")
BF16, FP8 = KINDS
ALL_OF_IT = 1 << 40  # bytes of an L2 that forgets nothing


def test_five_whole_tasks_on_two_parts_are_three_on_one() -> None:
    assert least_payload([(5, 10)], 2, 1, cut=False) == 3 * 11


def test_a_task_that_is_cut_pays_the_fixed_cost_twice() -> None:
    """Five tasks of 10 are 50, and six pieces cost 1 each: 28 for either part."""
    assert least_payload([(5, 10)], 2, 1, cut=True) == 28
    assert not fits([(5, 10)], 2, 1, 27, cut=True)


def test_a_task_is_cut_over_as_many_parts_as_it_takes() -> None:
    assert least_payload([(1, 90)], 10, 1, cut=True) == 10
    assert least_payload([(1, 90)], 10, 1, cut=False) == 91


def test_runs_of_other_sizes_follow_each_other() -> None:
    """3, 3 and 7 with a fixed cost of 1: 4 + 4 and 8."""
    assert least_payload([(2, 3), (1, 7)], 2, 1, cut=False) == 8
    assert least_payload([(0, 5), (2, 3)], 1, 0, cut=False) == 6


def test_memory_gives_an_sm_what_the_issue_counts_with() -> None:
    assert [round(delivered(name), 1) for name in ("H100", "H200", "H20")] == [14.5, 20.7, 25.9]


def test_one_tile_moves_its_operands_once() -> None:
    plan = planned(BF16, 1, 128, 64, "H100", ALL_OF_IT)
    assert (plan.tiles, plan.steps, plan.asked) == (1, 1, (128 + 1) * 128)
    assert plan.missed == plan.asked


def test_a_cache_that_holds_all_asks_memory_for_each_byte_once() -> None:
    plan = planned(BF16, 4096, 7168, 2048, "H100", ALL_OF_IT)
    assert plan.missed == (4096 + 7168) * 2048 * 2
    assert plan.pair == 2
    assert plan.asked == 2048 * 2 * (plan.across * 4096 + plan.down * 7168)


def test_a_cache_that_holds_nothing_asks_memory_for_every_step() -> None:
    plan = planned(BF16, 300, 700, 256, "H100", 0)
    assert plan.missed == plan.asked


def test_scales_of_tokens_move_with_them() -> None:
    plan = planned(FP8, 8, 128, 256, "H100", ALL_OF_IT)
    assert plan.missed == 8 * (256 + 2 * 4) + 128 * 256
    assert least_bytes(FP8, 8, 128, 256) == plan.missed + 8 * 128 * 2


def test_with_whole_tiles_no_card_could_be_faster() -> None:
    for card in ("H20", "H100", "H200"):
        found = figures(BF16, 4096, 7168, 2048, card)
        assert found.whole <= 1
        assert 1 <= found.time <= found.cut


@needs_emulator
def test_the_plan_asks_for_what_the_emulator_counts() -> None:
    """Rows that a tile has and the product has not are not asked for; weights of a block's first stages are twice."""
    room, case = Room(ROOT / "kernels/linear"), {"M": 130, "N": 300, "K": 4096, "none": ["bias"]}
    ran = run(room, Counted(Path(LIBRARY)), case, [{"scalar": "bfloat16", "weight": "bfloat16"}])
    assert not isinstance(ran, str), ran
    plan = planned(BF16, 130, 300, 4096, "H100", ALL_OF_IT)
    assert summed(ran.launches, "load_sectors") * SECTOR == pytest.approx(plan.asked, rel=0.1)


@needs_emulator
@pytest.mark.parametrize("room", product_rooms(), ids=lambda room: room.name)
def test_few_rows_leave_nothing_of_the_tensor_cores_unused(room: Room) -> None:
    found = [useful_at(room, Counted(Path(LIBRARY)), m) for m in FEW]
    assert found == [1 / 8, 1, 1, 1, 1]


@needs_emulator
@pytest.mark.parametrize("room", product_rooms(), ids=lambda room: room.name)
def test_no_case_of_a_product_has_bank_conflicts(room: Room) -> None:
    counted, conflicts, ran = Counted(Path(LIBRARY)), {}, 0
    for number, case in enumerate(room.spec["cases"]):
        found = run(room, counted, case, room.type_choices())
        if not isinstance(found, str):
            ran, conflicts[number] = ran + 1, summed(found.launches, "bank_conflicts")
    assert ran > len(room.spec["cases"]) / 2
    assert {number: count for number, count in conflicts.items() if count} == {}


def test_cards_of_plans_are_those_of_the_figures() -> None:
    header = (ROOT / "kernels/common/device/product_card.h").read_text()
    found = re.findall(r'\{"(\w+)", (\d+), (\d+), (\d+), (\d+)\}', header)
    assert [name for name, *_ in found] == list(DEVICES)
    for name, sms, memory, l2, tensor_clocks in found:
        assert (int(sms), int(l2)) == (DEVICES[name]["sms"], DEVICES[name]["l2_mb"])
        assert int(tensor_clocks) == TENSOR_CLOCKS[name]
        assert int(memory) / 100 == pytest.approx(delivered(name), abs=0.01)


def test_whole_tiles_of_groups_are_spread_as_evenly_as_they_can_be() -> None:
    over = [
        plan.slowest(DEVICES[card]["sms"]) / plan.least(DEVICES[card]["sms"], cut=False)
        for case in groups.each_case(moves=False)
        for card, plan in case.plans.items()
    ]
    assert len(over) == 3 * 2 * (4 * 6 + 2 * 2 * 4)
    assert max(over) <= MOST_IMBALANCE


def test_shares_of_grouped_tiles_are_near_what_cutting_anywhere_gives() -> None:
    """Six groups of about 20 rows are 2 waves of tiles on an H100, and the last one to two are cut."""
    plan = groups.planned("H100", np.full(6, 20), 6144, 7168, 2)
    assert plan.whole < plan.tiles
    assert plan.slowest(132) < 0.8 * plan.least(132, cut=False)
    assert plan.slowest(132) < MOST_IMBALANCE * plan.least(132, cut=True)


def test_experts_of_few_tokens_ask_memory_for_each_byte_once() -> None:
    """Two experts of 8 rows, whose weights are two tiles each."""
    plan = groups.planned("H100", np.array([8, 0, 8]), 256, 128, 1, moves=True)
    assert plan.missed == 2 * (8 + 256) * 128
