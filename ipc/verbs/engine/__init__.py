"""The verbs of an engine's agent: coroutines of (engine, fields)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from ...engine import Engine
from .doctor import doctor
from .ops import manifest, ops, why
from .status import status
from .use import reset, use

Fields = dict[str, Any]

VERBS: dict[str, Callable[[Engine, Fields], Awaitable[Fields]]] = {
    "status": status,
    "ops": ops,
    "why": why,
    "use": use,
    "reset": reset,
    "doctor": doctor,
    "manifest": manifest,
}
