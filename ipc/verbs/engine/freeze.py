"""`freeze`, `unfreeze` and `events` of an engine: who may switch, and what the engine did by itself."""

from __future__ import annotations

from typing import Any

from ...engine import Engine

Fields = dict[str, Any]


async def freeze(engine: Engine, fields: Fields) -> Fields:
    now = engine.info.clock.wall_ms()
    engine.memory.freezes.add({"from_ms": now, **fields}, now)
    engine.memory.tell("frozen", f"{fields['name']}: {fields['reason']}", owner=fields["owner"])
    return _kept(engine, now)


async def unfreeze(engine: Engine, fields: Fields) -> Fields:
    now = engine.info.clock.wall_ms()
    engine.memory.freezes.lift(fields["name"], fields.get("owner"), now)
    engine.memory.tell("unfrozen", fields["name"], owner=fields.get("owner", ""))
    return _kept(engine, now)


def _kept(engine: Engine, now: int) -> Fields:
    return {"freezes": engine.memory.freezes.lasting(now)}


async def events(engine: Engine, fields: Fields) -> Fields:
    journal = engine.memory.journal
    return {"journal": journal.id, "last": journal.last, "events": journal.after(fields.get("after", 0))}
