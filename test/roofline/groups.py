"""What the grouped planner makes of the rows that groups have: its tiles, and their balance on each card."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from roofline.balance import least_payload
from roofline.cards import DEVICES
from roofline.library import compiled
from roofline.plans import L2_COPIES

#: Groups and rows of each, about: DeepGEMM's own benchmark; then N and K of each group's weights.
CONTIGUOUS, MASKED = ((4, 8192), (8, 4096)), ((32, 192), (6, 1024), (32, 20), (6, 20))
WEIGHTS = ((6144, 7168), (7168, 3072), (4096, 4096), (4096, 2048))
#: Experts, how many of them a token goes to, and N and K of both products of each.
MODELS = {
    "DeepSeek-V3": (256, 8, ((4096, 7168), (7168, 2048))),
    "Qwen3-235B": (128, 8, ((3072, 4096), (4096, 1536))),
}
TOKENS = (8, 64, 1024, 4096)
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
    share_clocks: int
    asked: int  # bytes that L2 serves
    missed: int  # of them those that memory serves

    @property
    def task(self) -> int:
        return self.steps * self.step_clocks + self.fixed_clocks

    def slowest(self, sms: int) -> int:
        """Clocks of the SM that has most: whole tiles, then a share of the tiles that are cut, which costs a start, a
        kernel that adds up what shares have in common, and their way through memory."""
        if self.whole == self.tiles:
            return -(-self.tiles // sms) * self.task
        share = -(-(self.tiles - self.whole) * self.task // self.blocks)
        return self.whole // sms * self.task + share + self.share_clocks

    def least(self, sms: int, cut: bool) -> int:
        return least_payload([(self.tiles, self.steps * self.step_clocks)], sms, self.fixed_clocks, cut)


def planned(card: str, sizes: np.ndarray, n: int, k: int, element_bytes: int, moves: bool = False) -> Grouped:
    """`moves`: also what it asks L2 and memory for, which takes longer."""
    counts = np.ascontiguousarray(sizes, np.int32)
    l2 = ctypes.c_int64(int(moves * DEVICES[card]["l2_mb"] * 2**20) // L2_COPIES)
    found = (ctypes.c_int64 * len(Grouped.__dataclass_fields__))()
    numbers = (list(DEVICES).index(card), len(counts), int(counts.sum()), n, k, element_bytes)
    data = counts.ctypes.data_as(ctypes.POINTER(ctypes.c_int32))
    compiled("group_plans.cpp").opswap_group_plan_of(*map(ctypes.c_int32, numbers), data, l2, found)
    return Grouped(*found)


@dataclass(frozen=True)
class Case:
    kind: str
    rows: str  # of groups
    sizes: np.ndarray
    n: int
    k: int
    elements: str
    plans: dict[str, Grouped]  # of each card

    @property
    def least_bytes(self) -> int:
        """Rows, the weights of groups that have any, and out in 16 bits."""
        rows, active = int(self.sizes.sum()), int((self.sizes > 0).sum())
        return (rows * self.k + active * self.n * self.k) * BYTES[self.elements] + self.written

    @property
    def written(self) -> int:
        return int(self.sizes.sum()) * self.n * 2

    def traffic(self, card: str) -> tuple[float, float]:
        """Bytes that L2 serves, and that memory serves, over the least."""
        plan = self.plans[card]
        return (plan.asked + self.written) / self.least_bytes, (plan.missed + self.written) / self.least_bytes


def _cases(kind: str, rows: str, sizes: np.ndarray, weights: Sequence[tuple[int, int]], moves: bool) -> Iterator[Case]:
    for n, k in weights:
        for elements, size in BYTES.items():
            plans = {card: planned(card, sizes, n, k, size, moves) for card in DEVICES}
            yield Case(kind, rows, sizes, n, k, elements, plans)


def each_case(moves: bool) -> Iterator[Case]:
    random = np.random.default_rng(0)
    for kind, lists in {"contiguous": CONTIGUOUS, "masked": MASKED}.items():
        for groups, rows in lists:
            sizes = (rows * random.uniform(*UNEVEN, groups)).astype(np.int32)
            yield from _cases(kind, f"{groups} x {rows}", sizes, WEIGHTS, moves)
    for model, (experts, each, weights) in MODELS.items():
        for tokens in TOKENS:
            chosen = np.concatenate([random.permutation(experts)[:each] for _ in range(tokens)])
            yield from _cases(model, f"{tokens} tokens", np.bincount(chosen, minlength=experts), weights, moves)
