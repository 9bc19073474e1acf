"""Where an op call belongs: (rank, step, epoch). The adapter counts the step, at its engine's own step boundary."""

from __future__ import annotations

from collections.abc import Callable

import opswap
from opswap.ipc.toggles import Graphs


class StepContext:
    """Per process: the step that runs, and the epoch it runs with. Every op call is recorded with both.

    `graphs` says what the engine's CUDA graphs replay; an adapter of an engine that has any puts its own there.
    """

    def __init__(self) -> None:
        self.rank = 0
        self.step = 0
        self.epoch = 0
        self.graphs: Callable[[], Graphs] = Graphs

    def begin_step(self, rank: int) -> None:
        self.rank = rank
        self.step += 1
        opswap.set_context(rank, self.step, self.epoch)

    def set_epoch(self, epoch: int) -> None:
        """A commit has taken effect: calls from here on belong to `epoch`."""
        self.epoch = epoch
        opswap.set_context(self.rank, self.step, epoch)
