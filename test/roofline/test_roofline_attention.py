"""Plans of attention: small ones that a hand can make, and what has to hold of any."""

from __future__ import annotations

import os

import numpy as np
import pytest
from roofline.attention import PART_COST, TILE_COST, plan_of, shown

#: Random batches; a sweep of 10,000 is OPSWAP_ATTENTION_PLANS=10000.
BATCHES = int(os.environ.get("OPSWAP_ATTENTION_PLANS", "300"))


def cost(tiles: int) -> int:
    return tiles * TILE_COST + PART_COST if tiles else 0


def test_a_sequence_of_ten_tiles_is_cut_in_the_middle_for_two_bins() -> None:
    plan = plan_of([10], 2)
    assert plan.payload == 5 * TILE_COST + PART_COST
    assert plan.words.tolist() == [1, 2, 1, 15, 2, 0, 0, 0, *(0, 0, 0, 0), *(0, 5, 1, 0), *(1, 0, 0, 0), 0, 2]


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
            while done < tiles[sequence] and left >= TILE_COST:
                left, done, took = left - TILE_COST, done + 1, took + 1
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
        least = PART_COST + TILE_COST
        assert fits(tiles, bins, plan.payload)
        assert plan.payload == least or not fits(tiles, bins, plan.payload - 1), (tiles, bins)


def test_the_table_counts_what_cuts_cost_against_the_plan() -> None:
    """64 sequences of 4 tiles on 78 SMs: no bin has less than one, and all of them over 78 are 64/78 of one."""
    lines = shown().splitlines()
    assert len(lines) == 6
    assert lines[4].split("  ")[0] == "64 x 512" and f"{78 / 64:.2f}, 0" in lines[4]
