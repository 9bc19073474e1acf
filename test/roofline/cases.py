"""Calls of rooms with matrix products, of whatever size, on the emulator."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ops.rooms import Placed, Room, build, kernel_rooms
from roofline.count import Counted

#: What the kernels of a product include: the shared planner, ring or main loop.
_SHARED = re.compile(r'#include "common/device/(product|group)_')
_SYMBOL = re.compile(r"[A-Z][A-Z0-9]*")
#: Left out where they may be: the plainest call.
_LEFT_OUT = ("bias", "masked_m", "row_indices", "plan")
#: One: of rows behind a group, the emulator cannot tell the next one's from its own.
GROUPS = 1


def _sources(room: Room) -> Iterable[Path]:
    return (path for pattern in ("*.cu", "*.h") for path in sorted(room.path.rglob(pattern)))


def product_rooms() -> list[Room]:
    """Those that multiply by weights with the shared kernels."""
    return [
        room
        for room in kernel_rooms()
        if any(a["name"].startswith("weight") for a in room.args)
        and any(_SHARED.search(path.read_text()) for path in _sources(room))
    ]


def has_codes(room: Room) -> bool:
    return any("float8_e4m3fn" in dtypes for dtypes in room.spec["types"].values())


def case_of(room: Room, m: int, n: int, k: int) -> dict[str, Any]:
    """`m` rows, of each group where there are groups; symbols beyond those are 1, as of a scale for all."""
    names = [a["name"] for a in room.args]
    symbols = {s for a in room.args for d in a.get("shape", []) for s in _SYMBOL.findall(d)}
    case: dict[str, Any] = {**dict.fromkeys(sorted(symbols), 1), "M": m, "N": n, "I": n, "K": k}
    case["none"] = [name for name in _LEFT_OUT if name in names]
    if "expert_first_row" in names:
        rows = GROUPS * m
        case |= {"G": GROUPS, "R": rows, "T": rows, "F": GROUPS + 1, "E": 0, "I": 0, "sizes": [m] * GROUPS}
    return case


@dataclass(frozen=True)
class Ran:
    launches: list[dict]
    values: dict[str, Any]  # as they were given, and what was written
    expected: dict[str, np.ndarray]


def as_built(values: dict[str, Any]) -> dict[str, Any]:
    return values


def run(
    room: Room,
    counted: Counted,
    case: dict[str, Any],
    choices: list[dict[str, str]],
    changed: Callable[[dict[str, Any]], dict[str, Any]] = as_built,
) -> Ran | str:
    """With the first dtypes that the kernels take; or why they take none."""
    why = "no dtypes to try"
    for types in choices:
        values = changed(build(room, case, types))
        placed = Placed(room, case, values)
        launches = counted.launches(room, placed.values)
        if not isinstance(launches, str):
            return Ran(launches, placed.values, room.module.ref(**values))
        why = launches
    return why
