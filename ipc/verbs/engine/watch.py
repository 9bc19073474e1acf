"""Shadows and recordings of an engine: started on every rank or on none."""

from __future__ import annotations

import contextlib
import secrets
from typing import Any

from ...coordinator import ask
from ...engine import ASK_TIMEOUT_S, Engine
from ...errors import IpcError

Fields = dict[str, Any]
CHOICE = ("salt", "share_of_calls", "first_of_bucket", "most_of_bucket")
MOST_RECORDS = 1000


async def shadow_start(engine: Engine, fields: Fields) -> Fields:
    arms = (fields["op"], fields["control"], fields["candidate"])
    for impl in arms[1:]:
        engine.quarantine.refuse({fields["op"]: impl})
        engine.memory.refuse_barred({fields["op"]: impl})
    engine.declared(fields["op"])
    before = engine.memory.record.shadowed.get(fields["op"])
    await engine.shadowing(fields["op"], fields["candidate"])
    try:
        return await _start(engine, "shadow", *arms, _how(fields, *CHOICE, "share_of_time", "memory"))
    except IpcError as error:
        if error.code != "OPSWAP_E_TIMEOUT":  # behind that a rank may start it later
            engine.memory.shadowed(fields["op"], before)
        raise


async def shadow_stop(engine: Engine, fields: Fields) -> Fields:
    stopped = await _stop(engine, "shadow_stop", fields)
    if not any(rank["running"] for rank in stopped["ranks"]):
        engine.memory.unshadowed([fields["op"]])
    return stopped


async def shadow_status(engine: Engine, fields: Fields) -> Fields:
    return await _all(engine, "shadow_status", fields)


async def shadow_read(engine: Engine, fields: Fields) -> Fields:
    engine.declared(fields["op"])
    after, most = fields.get("after", []), fields.get("most", MOST_RECORDS)
    ranks = await engine.ask("shadow_read", fields["op"], after, most)
    return {"records": [record for rank in ranks for record in rank["records"]]}


async def record_start(engine: Engine, fields: Fields) -> Fields:
    return await _start(engine, "record", fields["op"], _how(fields, *CHOICE, "most_bytes"))


async def record_stop(engine: Engine, fields: Fields) -> Fields:
    return await _stop(engine, "record_stop", fields)


async def record_status(engine: Engine, fields: Fields) -> Fields:
    return await _all(engine, "record_status", fields)


def _how(fields: Fields, *names: str) -> Fields:
    """What was said of how to choose. One salt for all ranks, so that they choose the same calls."""
    return {"salt": secrets.randbits(53), **{name: fields[name] for name in names if name in fields}}


async def _start(engine: Engine, what: str, op: str, *args: Any) -> Fields:
    engine.declared(op)
    how = args[-1]
    try:
        return {"ranks": await engine.ask(f"{what}_start", op, *args)}
    except IpcError:
        # Also where a rank did not answer in time, and may start later; what ran before has another salt, and goes on.
        with contextlib.suppress(IpcError):
            await ask(engine.ranks, f"{what}_stop", ASK_TIMEOUT_S, op, how["salt"])
        raise


async def _stop(engine: Engine, method: str, fields: Fields) -> Fields:
    engine.declared(fields["op"])
    return {"ranks": await engine.ask(method, fields["op"], fields.get("salt"))}


async def _all(engine: Engine, method: str, fields: Fields) -> Fields:
    engine.declared(fields["op"])
    return {"ranks": await engine.ask(method, fields["op"])}
