"""`status` of an engine: what runs where, and what the agent has counted."""

from __future__ import annotations

import os
from typing import Any

from ...engine import Engine
from ...errors import IpcError

Fields = dict[str, Any]


async def status(engine: Engine, _fields: Fields) -> Fields:
    """What the agent knows is told also where the ranks do not answer."""
    try:
        ranks, unanswered = await engine.ask("status"), None
    except IpcError as error:
        ranks, unanswered = [], error.message
    return {
        "name": engine.name,
        "pid": os.getpid(),
        "started": engine.started,
        "version": engine.info.version,
        "framework": engine.info.framework,
        "epoch": engine.coordinator.epoch,
        "choice": engine.choice,
        "ranks": ranks,
        "unanswered": unanswered,
        "switching": engine.switching.locked(),
        "restored": engine.restored.report(),
        "trial": dict(engine.memory.record.trial),
        "barred": engine.memory.barred(),
        "overrides": engine.overrides.report(),
        "freezes": engine.memory.freezes.lasting(engine.info.clock.wall_ms()),
        "divergence": engine.coordinator.divergence,
        "isolation": engine.ranks.isolation,
        "counters": dict(engine.counters),
    }
