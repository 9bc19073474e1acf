"""How plans of attention cut sequences over a card, `npm run roofline -- attention`: computed, nothing is measured."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from roofline.cards import DEVICES
from roofline.library import compiled

ATTENTION = "attention"
#: Of the record, as kernels/common/device/attention_plan.h describes it.
HEADER, PLACE, TILE_KEYS, TILE_COST, PART_COST = 8, 4, 128, 2, 5
#: Lengths of the batches that FlashMLA's planner was looked at with.
BATCHES = {
    "64 x 4K": [4096] * 64,
    "1 x 128K + 31 x 4K": [131072] + [4096] * 31,
    "1 x 64K + 31 x 4K": [65536] + [4096] * 31,
    "64 x 512": [512] * 64,
}


@dataclass(frozen=True)
class Plan:
    """A record, taken apart."""

    words: np.ndarray
    payload: int  # what the fullest bin may cost

    @property
    def bins(self) -> int:
        return int(self.words[1])

    @property
    def places(self) -> list[tuple[int, int, int]]:
        """Sequence, tile and part where each bin begins, and where the last one ends."""
        found = self.words[HEADER : HEADER + PLACE * (self.bins + 1)].reshape(-1, PLACE)
        return [(int(a), int(b), int(c)) for a, b, c, _ in found]

    @property
    def rows_before(self) -> list[int]:
        return self.words[HEADER + PLACE * (self.bins + 1) :].tolist()

    def parts(self, tiles: Sequence[int]) -> list[list[tuple[int, int, int, int]]]:
        """Of each bin: sequence, first tile, end, number of the part."""
        found = []
        for begin, end in zip(self.places[:-1], self.places[1:], strict=True):
            own = []
            for i in range(begin[0], end[0] + (end[1] > 0)):
                first = begin[1] if i == begin[0] else 0
                last = end[1] if i == end[0] else tiles[i]
                own.append((i, first, last, begin[2] if i == begin[0] else 0))
            found.append(own)
        return found

    def costs(self, tiles: Sequence[int]) -> list[int]:
        return [
            sum((last - first) * TILE_COST + PART_COST for _, first, last, _ in own if last > first)
            for own in self.parts(tiles)
        ]


def plan_of(tiles: Sequence[int], bins: int) -> Plan:
    words = np.full(HEADER + PLACE * (bins + 1) + len(tiles) + 1, -7, np.int32)
    counts = np.asarray(tiles, np.int32)
    pointers = [a.ctypes.data_as(ctypes.POINTER(ctypes.c_int32)) for a in (counts, words)]
    make = compiled("attention_plans.cpp").opswap_attention_plan
    make.restype = ctypes.c_int64
    payload = make(ctypes.c_int32(bins), ctypes.c_int32(len(tiles)), *pointers)
    return Plan(words, int(payload))


def shown() -> str:
    rows = [["lengths", *(f"{name}: fullest over mean, partial rows" for name in DEVICES)]]
    for name, lengths in BATCHES.items():
        tiles = [-(-length // TILE_KEYS) for length in lengths]
        cells = []
        for device in DEVICES.values():
            plan = plan_of(tiles, device["sms"])
            uncut = sum(count * TILE_COST + PART_COST for count in tiles if count)
            cells.append(f"{max(plan.costs(tiles)) * plan.bins / uncut:.2f}, {plan.rows_before[-1]}")
        rows.append([name, *cells])
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = ["  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip() for row in rows]
    return "\n".join([*lines, "One head of keys, a block on each SM. The mean is of sequences that nobody cuts."])
