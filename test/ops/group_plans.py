"""Plans of grouped products for tests: random batches, and the tasks that a record stands for, worked out as
kernels/grouped_gemm_plan/README.md says and not by the library's own code."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import opswap
from rooms import ROOT, Room

PLAN = Room(ROOT / "kernels/grouped_gemm_plan")
NAMES = (
    "version", "masked", "groups", "rows", "n", "k", "element_bytes", "batch_invariant", "card", "sms", "refused",
    "tile", "steps", "across", "band", "tiles", "whole", "blocks", "step_cycles",
)  # fmt: skip
WORDS, FIXED, SHARE_TILES = 32, 1225, 3


def words(groups: int) -> int:
    return WORDS + 3 * (groups + 1)


@dataclass(frozen=True)
class Batch:
    """Rows of groups, and the product that they are for."""

    sizes: list[int]
    capacity: int  # 0: one behind the other
    first: int
    rows: int
    n: int
    k: int
    element_bytes: int = 2
    card: int = 2
    batch_invariant: bool = False

    @property
    def index(self) -> np.ndarray:
        if self.capacity:
            return np.array(self.sizes, np.int32)
        return np.cumsum([self.first, *self.sizes]).astype(np.int32)

    def args(self, plan: np.ndarray) -> list[Any]:
        given = [None, self.index] if self.capacity else [self.index, None]
        return [plan, *given, self.rows, self.n, self.k, self.element_bytes, self.card, self.batch_invariant]


def made(batch: Batch, impl: str | None = None, place: Callable[[Any], Any] = lambda value: value) -> np.ndarray:
    plan = np.full(words(len(batch.sizes)), -7, np.int32)
    args = batch.args(plan)  # kept: where they are placed they may be addresses only
    opswap.call("grouped_gemm_plan", *map(place, args), **({"impl": impl} if impl else {}))
    return plan


def random_batch(rng: np.random.Generator) -> Batch:
    """Few groups or many, empty ones among them, evenly filled or not."""
    groups = int(rng.choice([0, 1, 2, 6, 32, 128, 257, 512]))
    most = int(rng.choice([1, 9, 70, 300, 2000]))
    sizes = rng.integers(0, most + 1, groups)
    sizes[rng.random(groups) < rng.choice([0, 0.3, 0.9])] = 0
    capacity = int(rng.integers(most, most + 9)) if rng.random() < 0.4 and groups else 0
    first = 0 if capacity else int(rng.integers(0, 4))
    rows = groups * capacity if capacity else first + int(sizes.sum()) + int(rng.integers(0, 9))
    n, k = (int(rng.choice(v)) for v in ([8, 130, 1024, 4096, 7168], [0, 40, 576, 2048, 7168]))
    how = (int(rng.integers(1, 3)), int(rng.integers(1, 4)), bool(rng.random() < 0.2))
    return Batch(sizes.tolist(), capacity, first, rows, n, k, *how)


@dataclass(frozen=True)
class Task:
    block: int
    group: int
    rows: tuple[int, int]
    columns: tuple[int, int]
    steps: tuple[int, int]


class Record:
    """A plan's words by name, and its tiles."""

    def __init__(self, plan: np.ndarray) -> None:
        self.head = dict(zip(NAMES, plan[: len(NAMES)].tolist(), strict=True))
        assert not plan[len(NAMES) : WORDS].any(), "the words that nothing uses are 0"
        self.before, self.first, self.count = plan[WORDS:].reshape(3, -1)
        rows, columns, swap = PLAN.module.TILES[self.head["tile"]]
        self.tokens, self.weights = (columns, rows) if swap else (rows, columns)
        self.swap = swap

    def tile(self, number: int) -> tuple[int, tuple[int, int], tuple[int, int]]:
        """Group, rows and columns of a tile."""
        head = self.head
        group = int(np.searchsorted(self.before, number, side="right")) - 1
        at, rows = number - int(self.before[group]), int(self.count[group])
        band, left = divmod(at, head["band"] * head["across"])
        height = min(head["band"], -(-rows // self.tokens) - band * head["band"])
        down, across = band * head["band"] + left % height, left // height
        start = int(self.first[group])
        return (
            group,
            (start + down * self.tokens, min(start + rows, start + (down + 1) * self.tokens)),
            (across * self.weights, min(head["n"], (across + 1) * self.weights)),
        )

    def share(self, b: int) -> int:
        """The step of the cut tiles with which share b begins."""
        head = self.head
        task = head["steps"] * head["step_cycles"] + FIXED
        tile, clocks = divmod((head["tiles"] - head["whole"]) * task * b // head["blocks"], task)
        done = max(0, clocks - FIXED + head["step_cycles"] // 2) // head["step_cycles"]
        return tile * head["steps"] + min(done, head["steps"])

    def tasks(self) -> Iterator[Task]:
        head = self.head
        for number in range(head["whole"]):
            yield Task(number % head["sms"], *self.tile(number), (0, head["steps"]))
        if head["whole"] == head["tiles"]:
            return
        for b in range(head["blocks"]):
            begin, end = self.share(b), self.share(b + 1)
            tiles = range(begin // head["steps"], -(-end // head["steps"]))
            assert len(tiles) <= SHARE_TILES, "a block looks at no more tiles"
            for tile in tiles:
                start = tile * head["steps"]
                steps = max(begin - start, 0), min(end - start, head["steps"])
                yield Task(b, *self.tile(head["whole"] + tile), steps)

    def slowest(self) -> int:
        """Clocks of the block that has most."""
        clocks = np.zeros(self.head["sms"], np.int64)
        for task in self.tasks():
            clocks[task.block] += FIXED + (task.steps[1] - task.steps[0]) * self.head["step_cycles"]
        return int(clocks.max(initial=0))
