"""The verbs of a sidecar: functions of (ops, fields), run on one of its threads."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ...library import LibraryOps
from .call import call
from .ops import manifest, ops, why
from .plan import plan
from .reference import reference
from .status import status

Fields = dict[str, Any]

VERBS: dict[str, Callable[[LibraryOps, Fields], Fields]] = {
    "status": status,
    "ops": ops,
    "why": why,
    "manifest": manifest,
    "call": call,
    "plan": plan,
    "reference": reference,
}
