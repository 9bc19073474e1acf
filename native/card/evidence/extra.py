"""What evidence needs beyond the pack, as the wheel's extra `evidence` names it."""

from __future__ import annotations

import importlib.util
import sys

from .refusal import Refused

HOST = ("numpy", "ml_dtypes")


def lacking(modules: tuple[str, ...]) -> list[str]:
    return [name for name in modules if importlib.util.find_spec(name) is None]


def require_extra(kind: str) -> None:
    """Refused with the names that are missing; an emulated run needs no torch."""
    missing = lacking((*HOST, "torch") if kind == "cuda" else HOST)
    if missing:
        remedy = f"run: {sys.executable} -m pip install {' '.join(missing)}   (the wheel's extra: opswap[evidence])"
        raise Refused("OPSWAP_E_MISSING", f"evidence needs {', '.join(missing)}, not installed here", remedy)
