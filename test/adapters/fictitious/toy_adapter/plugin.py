"""The toy engine's plugin: called in every rank."""

from __future__ import annotations

import time
from typing import Any

import toy_engine
from opswap.adapters.common.plugin import activate
from opswap.adapters.common.rank import AnsweringRank, RankMethods
from opswap.ipc.toggles import Graphs

from .definition import ADAPTER


class ToyRank(RankMethods):
    """`refusal` and `deafness` are planted by tests: a reason to refuse, and seconds without an answer. So are a rank
    that cannot capture anew, and captures that fail."""

    opswap_adapter = ADAPTER

    def __init__(self, rank: int) -> None:
        self.rank = ADAPTER.context.rank = rank
        self.refusal: str | None = None
        self.recaptures = True
        ADAPTER.context.graphs = self.graphs

    def graphs(self) -> Graphs:
        """What the toy engine replays, and how it captures anew."""
        if toy_engine.GRAPH is None:
            return Graphs()
        captured = frozenset(ADAPTER.seams.ops())
        if not self.recaptures:
            return Graphs(captured, None, "this rank was told not to")
        return Graphs(captured, toy_engine.GRAPH.capture)

    def opswap_plant_graphs(self, rank: int, recaptures: bool, failures: int) -> None:
        if rank == self.rank:
            self.recaptures = recaptures
            toy_engine.GRAPH.failures = failures

    def opswap_prepare(self, *args: Any) -> dict[str, Any]:
        if self.refusal is None:
            return super().opswap_prepare(*args)
        return {"rank": self.rank, "ok": False, "code": "OPSWAP_E_BUSY", "reason": self.refusal}

    def opswap_plant(self, rank: int, refusal: str | None, deafness: float) -> None:
        if rank == self.rank:
            self.refusal = refusal
            time.sleep(deafness)


class Extension:
    """What the engine's ranks call."""

    def __init__(self, rank: int) -> None:
        self._rank = rank
        self._answering = AnsweringRank(ToyRank(rank))
        self.received = self._answering.receive
        self.after_step = self._answering.step_boundary

    def before_step(self) -> None:
        ADAPTER.context.begin_step(self._rank)


def register(rank: int) -> Any:
    """Installs the seams in this rank."""
    activate(ADAPTER)
    return Extension(rank)
