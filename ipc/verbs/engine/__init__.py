"""The verbs of an engine's agent: coroutines of (engine, fields)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from ...engine import Engine
from .candidates import candidates, register
from .doctor import doctor
from .freeze import events, freeze, unfreeze
from .ops import manifest, ops, why
from .quarantine import quarantine, quarantine_status
from .status import status
from .use import end_override, panic, reset, use
from .watch import (
    record_start,
    record_status,
    record_stop,
    shadow_read,
    shadow_start,
    shadow_status,
    shadow_stop,
)

Fields = dict[str, Any]

VERBS: dict[str, Callable[[Engine, Fields], Awaitable[Fields]]] = {
    "status": status,
    "ops": ops,
    "why": why,
    "use": use,
    "end_override": end_override,
    "reset": reset,
    "register": register,
    "candidates": candidates,
    "doctor": doctor,
    "manifest": manifest,
    "shadow_start": shadow_start,
    "shadow_stop": shadow_stop,
    "shadow_status": shadow_status,
    "shadow_read": shadow_read,
    "record_start": record_start,
    "record_stop": record_stop,
    "record_status": record_status,
    "freeze": freeze,
    "unfreeze": unfreeze,
    "events": events,
    "panic": panic,
    "quarantine": quarantine,
    "quarantine_status": quarantine_status,
}
