"""`status` of a sidecar, in the same fields as an engine's."""

from __future__ import annotations

import os
from typing import Any

from ...library import LibraryOps

Fields = dict[str, Any]


def status(ops: LibraryOps, _fields: Fields) -> Fields:
    return {
        "name": ops.name,
        "pid": os.getpid(),
        "started": ops.started,
        "version": ops.library.version(),
        "framework": None,
        "epoch": 0,
        "choice": {},
        "ranks": [],
        "switching": False,
        "restored": {"outcome": "none", "message": "a sidecar keeps no choice"},
        "trial": {},
        "barred": [],
        "overrides": [],
        "freezes": [],
        "divergence": None,
        "isolation": None,
        "counters": {**ops.counters, "segments": len(ops.segments)},
    }
