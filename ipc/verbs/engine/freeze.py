"""`freeze`, `unfreeze` and `events` of an engine: who may switch, and what the engine did by itself."""

from __future__ import annotations

from typing import Any

from ...engine import Engine
from ...errors import IpcError

Fields = dict[str, Any]


async def freeze(engine: Engine, fields: Fields) -> Fields:
    now = engine.info.clock.wall_ms()
    before = engine.memory.freezes.kept
    engine.memory.freezes.add({"from_ms": now, **fields}, now)
    await _keep(engine, f"freeze {fields['name']}", before)
    engine.memory.tell("frozen", f"{fields['name']}: {fields['reason']}", owner=fields["owner"])
    return _kept(engine, now)


async def unfreeze(engine: Engine, fields: Fields) -> Fields:
    now = engine.info.clock.wall_ms()
    before = engine.memory.freezes.kept
    engine.memory.freezes.lift(fields["name"], fields.get("owner"), now)
    await _keep(engine, f"unfreeze {fields['name']}", before)
    engine.memory.tell("unfrozen", fields["name"], owner=fields.get("owner", ""))
    return _kept(engine, now)


async def _keep(engine: Engine, what: str, before: list[Fields]) -> None:
    """On the disk before anybody is told of it: an engine that is killed then starts with it. Raises IpcError IO, with
    what was there `before` in force again."""
    if failed := await engine.memory.kept():
        engine.memory.freezes.kept = before
        raise IpcError("OPSWAP_E_IO", f"{what}: {failed}; nothing was changed")


def _kept(engine: Engine, now: int) -> Fields:
    return {"freezes": engine.memory.freezes.lasting(now)}


async def events(engine: Engine, fields: Fields) -> Fields:
    journal = engine.memory.journal
    return {"journal": journal.id, "last": journal.last, "events": journal.after(fields.get("after", 0))}
