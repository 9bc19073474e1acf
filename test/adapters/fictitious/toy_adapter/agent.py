"""The agent of a toy engine, in the process that drives the ranks."""

from __future__ import annotations

from typing import Any

from opswap.adapters.common.agent import make_agent
from opswap.adapters.common.checks import Check, Report, engine_checks
from opswap.adapters.common.offline import Attached
from opswap.adapters.common.plugin import activate
from opswap.adapters.common.ranks import EngineRanks
from opswap.adapters.common.state import PluginState

from .definition import ADAPTER


class Carrier:
    """The engine as EngineRanks wants it."""

    def __init__(self, engine: Any) -> None:
        self._engine = engine

    async def broadcast(self, method: str, args: tuple[Any, ...]) -> None:
        self._engine.broadcast(method, args)

    async def reset_prefix_cache(self) -> bool:
        return True  # it has none

    async def progress(self) -> dict[str, int]:
        return {}  # its steps belong to no request


def attach(engine: Any, name: str, size: int) -> Attached:
    """Starts the agent of a running engine of `size` ranks."""
    activate(ADAPTER)
    ranks = EngineRanks(Carrier(engine), answering=size)
    agent = make_agent(ADAPTER, name, ranks, "toy", checks)
    return Attached(agent, lambda: None, lambda: None)


def checks(_state: PluginState, reports: list[Report], cache_pending: bool) -> list[Check]:
    return engine_checks(ADAPTER, reports, cache_pending)
