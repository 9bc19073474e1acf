"""What tests do with rooms beyond the evidence's own: parameters of pytest, and calls through the package opswap."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from card.evidence.choices import choices_of, tolerance_of
from card.evidence.rooms import ALIGNED, Placed, Room, assert_close, build, case_id, default_value, evaluate, rooms
from gen.spec import kernel_files

__all__ = [
    "ALIGNED",
    "ROOT",
    "Placed",
    "Room",
    "aligned",
    "all_cases",
    "assert_close",
    "build",
    "check",
    "default_value",
    "evaluate",
    "kernel_rooms",
    "prepared",
    "rooms",
]
ROOT = Path(__file__).resolve().parents[2]


def kernel_rooms() -> list[Room]:
    """Those with CUDA kernels."""
    return [room for room in rooms() if kernel_files(room.path)]


def all_cases(of: list[Room]) -> list:
    """Each case in each combination of dtypes, as pytest's parameters (room, case, types)."""
    import pytest

    return [
        pytest.param(room, case, types, id=f"{room.name}[{case_id(case)}|{'-'.join(types.values())}]")
        for room in of
        for case in room.spec["cases"]
        for types in choices_of(room.spec, case)
    ]


def on_host(value: Any, _name: str) -> Any:
    return value


_LAST: dict[str, tuple[dict[str, Any], dict[str, np.ndarray]]] = {}


def prepared(room: Room, case: dict, types: dict[str, str]) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Arguments of a case and what ref.py makes of them; the last case's are kept, for its other implementations.

    Neither may be written: `Placed` copies arguments, but for fused ones.
    """
    key = json.dumps([str(room.path), case, types])
    if key not in _LAST:
        _LAST.clear()
        values = build(room, case, types)
        _LAST[key] = values, room.module.ref(**_own(values))
    return _LAST[key]


def _own(values: dict[str, Any]) -> dict[str, Any]:
    """Of the reference, which may write what it is given."""
    return {name: value.copy() if isinstance(value, np.ndarray) else value for name, value in values.items()}


def check(
    room: Room,
    case: dict,
    types: dict[str, str],
    impl: str,
    place: Callable[[Any, str], Any] = on_host,
    sm_budget: int = 0,
) -> None:
    """One call against ref.py, in poisoned memory; `place` says where the argument of a name is."""
    import opswap

    values, expected = prepared(room, case, types)
    placed = Placed(room, case, build(room, case, types) if case.get("fused") else values)
    args = [place(v, name) for name, v in placed.values.items()]
    how = {"impl": impl, "sm_budget": sm_budget}
    size = opswap.workspace_size(room.name, *args, **how)
    memory = aligned(size)  # kept here: where it is placed it may be an address only
    opswap.call(room.name, *args, **how, workspace=place(memory, "workspace") if size else None)
    placed.assert_untouched()
    written = [a["name"] for a in room.args if a.get("writes") and placed.values[a["name"]] is not None]
    assert sorted(expected) == sorted(written), "ref.py returns exactly the written arguments that are given"
    for name in written:
        assert_close(f"{room.name}:{impl}:{name}", placed.values[name], expected[name], tolerance_of(room.spec, case))


def aligned(size: int) -> np.ndarray:
    """Workspace that starts as NaN in every type, at the library's alignment."""
    base = np.full(size + 64, 0xFF, np.uint8)
    start = -base.ctypes.data % 64
    return base[start : start + size]
