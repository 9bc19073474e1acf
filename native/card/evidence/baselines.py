"""What a kernel is timed against, as its room's peer.py says: torch's own, and libraries whose wheels were brought."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

from .rooms import Room, rooms

Run = Callable[[], Any]


def _declared(room: Room) -> list[Any]:
    """The room's list of `Baseline` of kernels/common/peer.py."""
    return getattr(room.peer, "GPU_BASELINES", [])


def _trouble(module: str) -> str | None:
    """Why a module cannot be used, in a line."""
    try:
        importlib.import_module(module)
    except Exception as error:  # a wheel for another torch fails in its own ways
        return f"{type(error).__name__}: {error}".split("\n", 1)[0]
    return None


def missing(of: list[Room] | None = None) -> list[str]:
    """One line for each library that the baselines of these rooms need and that is not there."""
    wheels = {b.module: b.wheel for room in of or rooms() for b in _declared(room)}
    troubles = {wheel: _trouble(module) for module, wheel in sorted(wheels.items())}
    return [f"baseline {wheel}: not here ({trouble})" for wheel, trouble in troubles.items() if trouble]


def baselines(room: Room, values: dict[str, Any]) -> dict[str, Run]:
    """By wheel, what the op can be timed against here; a brought library that refuses the arguments is left out."""
    found = {}
    for baseline in _declared(room):
        try:
            importlib.import_module(baseline.module)
            found[baseline.wheel] = baseline.prepare(values)
        except Exception:
            if baseline.module == "torch":
                raise
    return found
