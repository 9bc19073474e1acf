"""Plans of attention: small ones that a hand can make, and what has to hold of any."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from roofline.attention import (
    HEADER,
    MOST_BINS,
    PART_COST,
    PLACE,
    PREFILL,
    TILE_ROWS,
    UNIT_COST,
    Prefill,
    balance,
    decode_traffic,
    in_waves,
    kept_traffic,
    l2_of,
    of_fa3,
    order_of,
    plan_of,
    prefilled,
    shown,
)
from roofline.attention_error import CASES, LSE, error_of
from roofline.cards import DEVICES
from roofline.count import Counted

LIBRARY = os.environ.get("OPSWAP_EMULATED_LIBRARY", "")
#: Random batches; a sweep of 10,000 is OPSWAP_ATTENTION_PLANS=10000.
BATCHES = int(os.environ.get("OPSWAP_ATTENTION_PLANS", "300"))


def cost(tiles: int) -> int:
    return tiles * UNIT_COST + PART_COST if tiles else 0


def test_a_sequence_of_ten_tiles_is_cut_in_the_middle_for_two_bins() -> None:
    plan = plan_of([10], 2)
    assert plan.payload == 5 * UNIT_COST + PART_COST
    header, rest = [1, 2, 1, 10, 2, *[0] * 11], [*(0, 0, 0, 0), *(0, 5, 1, 0), *(1, 0, 0, 0)]
    assert plan.words.tolist() == [*header, *rest, *[0] * (PLACE * (MOST_BINS + 1) - len(rest)), 0, 2]
    assert len(header) == HEADER


def test_a_plan_that_cuts_nothing_has_the_longest_sequence_in_a_bin() -> None:
    plan = plan_of([10, 1, 1], 2, whole=True)
    assert plan.payload == cost(10) and plan.rows_before[-1] == 0
    assert plan.places == [(0, 0, 0), (1, 0, 0), (3, 0, 0)]


def test_sequences_that_fill_a_bin_each_are_not_cut() -> None:
    plan = plan_of([4, 4, 4], 3)
    assert plan.places == [(0, 0, 0), (1, 0, 0), (2, 0, 0), (3, 0, 0)]
    assert plan.rows_before == [0, 0, 0, 0]


def test_one_bin_has_all_of_it() -> None:
    plan = plan_of([3, 0, 7], 1)
    assert plan.payload == cost(3) + cost(7) and plan.rows_before[-1] == 0


def test_empty_sequences_cost_nothing_and_belong_to_one_bin_each() -> None:
    plan = plan_of([0, 0, 6, 0], 4)
    assert sorted(i for own in plan.parts([0, 0, 6, 0]) for i, first, last, _ in own if first == last) == [0, 1, 3]


def fits(tiles: list[int], bins: int, payload: int) -> bool:
    """Whether bins in order, each filled as far as it goes, hold all: by counting tile by tile."""
    sequence, done = 0, 0
    for _ in range(bins):
        left = payload
        while sequence < len(tiles):
            if tiles[sequence] == 0:
                sequence += 1
                continue
            took = 0
            left -= PART_COST
            while done < tiles[sequence] and left >= UNIT_COST:
                left, done, took = left - UNIT_COST, done + 1, took + 1
            if done < tiles[sequence]:
                break
            sequence, done = sequence + 1, 0
    return all(count == 0 for count in tiles[sequence:]) and done == 0


@pytest.mark.parametrize("seed", range(4))
def test_of_any_batch_each_tile_is_done_once_and_the_fullest_bin_has_least(seed: int) -> None:
    rng = np.random.default_rng(seed)
    for _ in range(BATCHES // 4):
        tiles = [int(t) for t in rng.integers(0, rng.choice([2, 9, 70]), int(rng.integers(1, 40)))]
        bins = int(rng.choice([1, 2, 3, 16, 66, 132]))
        plan = plan_of(tiles, bins)
        done = np.concatenate([[0], np.cumsum(tiles)])
        owner = np.full(done[-1], -1)
        parts: dict[int, int] = {}
        for number, own in enumerate(plan.parts(tiles)):
            for sequence, first, last, part in own:
                assert (owner[done[sequence] + first : done[sequence] + last] == -1).all()
                owner[done[sequence] + first : done[sequence] + last] = number
                assert part == parts.get(sequence, 0), (tiles, bins)
                parts[sequence] = part + 1
        assert (owner >= 0).all() and set(parts) == set(range(len(tiles)))
        rows = np.cumsum([0] + [parts[i] if parts[i] > 1 else 0 for i in range(len(tiles))])
        assert plan.rows_before == rows.tolist() and rows[-1] <= min(2 * (bins - 1), len(tiles) + bins - 1)
        assert max(plan.costs(tiles)) <= plan.payload
        least = PART_COST + UNIT_COST
        assert fits(tiles, bins, plan.payload)
        assert plan.payload == least or not fits(tiles, bins, plan.payload - 1), (tiles, bins)


def test_balance_is_counted_against_what_nobody_cuts() -> None:
    """64 sequences of 8 units on 78 SMs: no bin has less than one of them, and all over 78 are 64/78 of one."""
    assert balance([512] * 64, 78) == pytest.approx(78 / 64)
    assert balance([512] * 64, 1) == 1
    assert balance([65536] + [4096] * 31, 132, whole=True) == pytest.approx(1029 * 132 / (1029 + 31 * 69))


def test_traffic_of_one_bin_is_the_plan_and_of_more_what_parts_write_and_read() -> None:
    least = 640 * 128 * 4 + 8 * 128 * 4
    words = 4 * (16 + 4 * 145 + 2)
    assert decode_traffic([640], 1) == pytest.approx((least + words) / least)
    assert decode_traffic([640], 2) == pytest.approx((least + words + 2 * 2 * (8 * 128 + 8) * 4) / least)


@pytest.mark.parametrize(
    ("lengths", "card", "parts", "again"),
    [
        ([16384] + [64] * 15, "H100", 86, 0),  # 8.95 MB, which half of an L2 holds
        ([4096] * 64, "H100", 128, 0),  # two bins for each sequence, done together at the end
        ([4096] * 64, "H20", 128, 39),  # sequences that are cut early are forgotten
    ],
)
def test_parts_that_l2_keeps_are_not_read_again(lengths: list[int], card: str, parts: int, again: int) -> None:
    bins = DEVICES[card]["sms"]
    least, row = sum(lengths) * 128 * 4 + len(lengths) * 8 * 128 * 4, (8 * 128 + 8) * 4
    words = 4 * (16 + 4 * 145 + len(lengths) + 1)
    assert decode_traffic(lengths, bins) == pytest.approx((least + words + 2 * parts * row) / least)
    assert kept_traffic(lengths, card) == pytest.approx((least + words + (parts + again) * row) / least)


def test_a_wave_of_tiles_reads_few_heads() -> None:
    """4 tiles of a head: 8 SMs read two heads a wave, which is least; 7 read two or three. Pairs are of one head: four
    heads a wave. FA3 takes 128 heads at once, of each its longest tile first."""
    assert in_waves(Prefill(512, 8, causal=False)) == 1
    assert 1 < in_waves(Prefill(512, 7, causal=False)) < 1.5
    assert in_waves(Prefill(512, 8)) == (16 + 4 * 8) / (16 + 2 * 8)
    assert of_fa3(Prefill(512, 8)).section == 128
    assert in_waves(of_fa3(Prefill(512, 8))) == (16 + 8 * 8) / (16 + 2 * 8)


def test_an_l2_that_forgets_nothing_reads_all_once_and_one_that_has_nothing_each_time() -> None:
    assert prefilled(Prefill(2048, 78), 1 << 40)[0] == prefilled(of_fa3(Prefill(2048, 78)), 1 << 40)[0] == 1
    tiles = 16384 // TILE_ROWS
    assert prefilled(Prefill(16384, 1, causal=False), 0)[0] == pytest.approx((2 + 2 * tiles) / 4)


def test_a_head_has_its_longest_tile_first_then_its_shortest() -> None:
    assert order_of(1, 5)[1] == [0, 4, 1, 3, 2]
    assert order_of(1, 4, pairs=False)[1] == [0, 1, 2, 3]


def test_blocks_have_two_tasks_that_follow_each_other_and_of_the_last_ones_some_have_one() -> None:
    """3 blocks of 11 tasks: numbers 0, 3, 6, 9 are the first one's."""
    assert order_of(3, 11)[0] == [0, 2, 4, 1, 3, 5, 6, 8, 10, 7, 9]
    assert order_of(3, 8)[0] == [0, 2, 4, 1, 3, 5, 6, 7]
    assert order_of(3, 8, pairs=False)[0] == list(range(8))


def test_each_task_is_taken_once() -> None:
    for blocks in (1, 2, 7, 78, 132):
        for tasks in (1, 2, 77, 78, 79, 155, 156, 157, 263, 264, 265, 1000):
            places, tiles = order_of(blocks, tasks)
            assert sorted(places) == sorted(tiles) == list(range(tasks)), (blocks, tasks)


@pytest.mark.parametrize("card", DEVICES)
def test_the_last_block_is_done_soon_after_the_others(card: str) -> None:
    """With tiles in turn, every fourth block had the longest tile of each head of 512 tokens alone: 1.65."""
    for tokens in PREFILL:
        moved, last = prefilled(Prefill(tokens, DEVICES[card]["sms"]), l2_of(card))
        assert moved < 1.2 and last < 1.04, tokens
    assert prefilled(Prefill(512, 128, causal=False), 1 << 40)[1] == 1
    assert prefilled(of_fa3(Prefill(512, 128)), 1 << 40)[1] < 1.01


def test_the_page_names_each_batch_and_workload() -> None:
    page = shown(None)
    assert all(name in page for name in ("1 x 128K + 31 x 4K", "2 x 32K + 30 x 4K", "16384, causal"))


@pytest.mark.skipif(not LIBRARY, reason="OPSWAP_EMULATED_LIBRARY names no library; npm test builds one")
@pytest.mark.parametrize("name", CASES)
def test_attention_is_near_float64(name: str) -> None:
    found = error_of(CASES[name], Counted(Path(LIBRARY)))
    assert found.within == 1 and found.cosine < CASES[name].cosine and found.lse < LSE, found
    if name == "decode, a block for each head":  # elsewhere parts are shorter than a tile
        assert found.useful == 1
