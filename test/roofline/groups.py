"""What the grouped planner makes of the rows that groups have: its tiles, and their balance on each card."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from roofline.balance import least_payload
from roofline.cards import DEVICES
from roofline.library import compiled

#: Groups and rows of each, about: DeepGEMM's own benchmark; then N and K of each group's weights.
CONTIGUOUS, MASKED = ((4, 8192), (8, 4096)), ((32, 192), (6, 1024), (32, 20), (6, 20))
WEIGHTS = ((6144, 7168), (7168, 3072), (4096, 4096), (4096, 2048))
#: Rows are uneven, as that benchmark makes them.
UNEVEN = (0.7, 1.3)
BYTES = {"16 bits": 2, "FP8": 1}


@dataclass(frozen=True)
class Grouped:
    rows: int
    columns: int
    swap: int
    steps: int
    tiles: int
    whole: int
    blocks: int
    step_clocks: int
    fixed_clocks: int

    @property
    def task(self) -> int:
        return self.steps * self.step_clocks + self.fixed_clocks

    def slowest(self, sms: int) -> int:
        """Clocks of the SM that has most: whole tiles, then a share of the tiles that are cut, which takes one start
        more, and a kernel that adds up what shares have in common."""
        if self.whole == self.tiles:
            return -(-self.tiles // sms) * self.task
        share = -(-(self.tiles - self.whole) * self.task // self.blocks)
        return self.whole // sms * self.task + share + 2 * self.fixed_clocks

    def least(self, sms: int, cut: bool) -> int:
        return least_payload([(self.tiles, self.steps * self.step_clocks)], sms, self.fixed_clocks, cut)


def planned(card: str, sizes: np.ndarray, n: int, k: int, element_bytes: int) -> Grouped:
    counts = np.ascontiguousarray(sizes, np.int32)
    found = (ctypes.c_int64 * len(Grouped.__dataclass_fields__))()
    numbers = (list(DEVICES).index(card), len(counts), int(counts.sum()), n, k, element_bytes)
    data = counts.ctypes.data_as(ctypes.POINTER(ctypes.c_int32))
    compiled("group_plans.cpp").opswap_group_plan_of(*map(ctypes.c_int32, numbers), data, found)
    return Grouped(*found)


@dataclass(frozen=True)
class Case:
    kind: str
    groups: int
    rows: int
    n: int
    k: int
    elements: str
    plans: dict[str, Grouped]  # of each card


def each_case() -> Iterator[Case]:
    random = np.random.default_rng(0)
    for kind, lists in {"contiguous": CONTIGUOUS, "masked": MASKED}.items():
        for groups, rows in lists:
            sizes = (rows * random.uniform(*UNEVEN, groups)).astype(np.int32)
            for n, k in WEIGHTS:
                for elements, size in BYTES.items():
                    plans = {card: planned(card, sizes, n, k, size) for card in DEVICES}
                    yield Case(kind, groups, rows, n, k, elements, plans)
