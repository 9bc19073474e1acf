"""`quarantine` and `quarantine_status` of an engine: candidates on recorded calls, in another process."""

from __future__ import annotations

from typing import Any

from ...engine import Engine
from ...errors import IpcError, nearest

Fields = dict[str, Any]
#: What every op has in the library: its yardstick.
YARDSTICK, FRAMEWORK = "ref", "framework"


async def quarantine(engine: Engine, fields: Fields) -> Fields:
    op, impl = fields["op"], fields["impl"]
    engine.declared(op)
    ranks = await engine.ask("why", op)
    control = fields.get("control") or _control(engine, op, impl, ranks[0]["active"])
    names = [row["name"] for row in ranks[0]["impls"]]
    for each in (impl, control):
        if each not in names:
            hint = f"{nearest(each, names)}; it has {', '.join(names)}"
            raise IpcError("OPSWAP_E_NO_IMPL", f"{op} has no implementation {each!r}{hint}")
        if reason := next(
            (row["reason"] for row in ranks[0]["impls"] if row["name"] == each and not row["usable"]), ""
        ):
            raise IpcError("OPSWAP_E_UNUSABLE", f"{op}: {each} cannot run here: {reason}")
    if engine.quarantine.is_registered(op, control):
        raise IpcError("OPSWAP_E_FIELD", f"quarantine: control {control} is a registered candidate", "name another one")
    how = {"calls": fields.get("most_calls"), "timeout_s": _seconds(fields)}
    given = {name: value for name, value in how.items() if value is not None}
    result = await engine.quarantine.run(engine.memory, op, impl, control, **given)
    return {"epoch": engine.coordinator.epoch, "result": result}


async def quarantine_status(engine: Engine, fields: Fields) -> Fields:
    if "op" in fields:
        engine.declared(fields["op"])
    kept = engine.quarantine.results
    return {"results": [row for row in kept if row["op"] == fields.get("op", row["op"])]}


def _control(engine: Engine, op: str, impl: str, active: str) -> str:
    """What is active, where another process can have it at once."""
    other = active in (impl, FRAMEWORK) or engine.quarantine.is_registered(op, active)
    return YARDSTICK if other else active


def _seconds(fields: Fields) -> float | None:
    return fields["timeout_ms"] / 1000 if "timeout_ms" in fields else None
