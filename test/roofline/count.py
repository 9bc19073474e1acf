"""What the emulator counts when it runs one case: launches with geometry, traffic, conflicts and products."""

from __future__ import annotations

import ctypes
import json
from pathlib import Path
from typing import Any

import numpy as np
from card.evidence.abi import Library
from card.evidence.backend import Emulator
from card.evidence.examine import IMPLEMENTATION, arguments, workspace
from ops.rooms import ALIGNED, Room

SECTOR = 32


class Counted:
    def __init__(self, path: Path) -> None:
        self.library = Library(path)
        self._launches = ctypes.CDLL(str(path)).opswap_emulator_launches
        self._launches.restype = ctypes.c_char_p

    def launches(self, room: Room, values: dict[str, Any]) -> list[dict] | str:
        """The launches of one call, or why there are none."""
        backend = Emulator()
        packed = arguments(self.library, backend, room.name, values)
        refusal = self.library.refusal(room.name, packed, IMPLEMENTATION)
        if refusal:
            return refusal
        address, size, _kept = workspace(self.library, backend, room.name, packed)
        self._launches(1)
        self.library.call(room.name, packed, IMPLEMENTATION, 0, (address, size))
        return json.loads(self._launches(1))


def zeros(values: dict[str, Any]) -> dict[str, Any]:
    """The same indices and, for all else, zeros that take memory only where a kernel goes."""

    def lazy(value: np.ndarray) -> np.ndarray:
        memory = np.zeros(value.nbytes + ALIGNED, np.uint8)
        start = -memory.ctypes.data % ALIGNED
        return memory[start : start + value.nbytes].view(value.dtype).reshape(value.shape)

    floating = (k for k, v in values.items() if isinstance(v, np.ndarray) and v.dtype.kind not in "iu")
    return values | {k: lazy(values[k]) for k in floating}


def elements(values: dict[str, Any]) -> int:
    return sum(v.size for v in values.values() if isinstance(v, np.ndarray))


def summed(launches: list[dict], name: str) -> int:
    return sum(launch["counters"].get(name, 0) for launch in launches)


def share(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def traffic(launches: list[dict], least: int) -> dict[str, float | None]:
    """Sectors as a perfect cache would fetch them, and as they are asked for, over the floor's bytes."""
    distinct = summed(launches, "distinct_load_sectors") + summed(launches, "distinct_store_sectors")
    asked = summed(launches, "load_sectors") + summed(launches, "store_sectors")
    return {
        "traffic": share(distinct * SECTOR, least),
        "asked": share(asked * SECTOR, least),
        "bank_conflicts": summed(launches, "bank_conflicts"),
        "useful_rows": share(summed(launches, "wgmma_useful_rows"), summed(launches, "wgmma_rows")),
    }
