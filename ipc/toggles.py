"""What a switch on one rank takes: live, a new capture of CUDA graphs, or a restart; and whether the rank can do that.

A graph replays the kernels that it was captured with, so an op that graphs hold is switched by a new capture at the
least, whatever its implementations say of themselves.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

#: From the least disturbing to the most.
TOGGLE_CLASSES = ("live", "recapture", "restart")


@dataclass(frozen=True)
class Graphs:
    """The CUDA graphs of a rank.

    Attributes:
        captured: ops whose calls graphs replay.
        recapture: captures them anew with what is active, between two steps; may raise. None: the adapter cannot.
        why_not: why it cannot, and what to do about it.
    """

    captured: frozenset[str] = frozenset()
    recapture: Callable[[], None] | None = None
    why_not: str = "this engine's adapter cannot capture CUDA graphs anew"


def worst(classes: Iterable[str]) -> str:
    return max(classes, key=TOGGLE_CLASSES.index, default="live")


def class_of(op: str, impl: dict[str, Any], graphs: Graphs) -> str:
    """What a switch to or from `impl`, a row of the library's `why` or `stats`, takes here."""
    return worst([impl["toggle_class"], "recapture" if op in graphs.captured else "live"])


def forbidden(op: str, now: dict[str, Any], then: dict[str, Any], graphs: Graphs) -> str:
    """Why a rank cannot switch from the row `now` to `then` while the engine runs; empty when it can."""
    classes = {row["name"]: class_of(op, row, graphs) for row in (now, then)}
    needed = worst(classes.values())
    if needed == "restart":
        names = " and ".join(name for name, told in classes.items() if told == "restart")
        return f"{op}: {names} can be chosen or left only at the start of the engine (toggle class restart)"
    if needed == "recapture" and graphs.recapture is None:
        held = "CUDA graphs replay its kernels" if op in graphs.captured else f"{then['name']} needs a new capture"
        return f"{op}: {held} (toggle class recapture), and {graphs.why_not}"
    return ""
