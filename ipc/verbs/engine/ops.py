"""`ops`, `why` and `manifest` of an engine: counters, reasons and declarations."""

from __future__ import annotations

from typing import Any

from ...candidate_list import origin
from ...engine import Engine

Fields = dict[str, Any]


async def ops(engine: Engine, fields: Fields) -> Fields:
    ranks = await engine.ask("ops")
    if "op" in fields:
        engine.declared(fields["op"])
        ranks = [{**rank, "ops": [row for row in rank["ops"] if row["op"] == fields["op"]]} for rank in ranks]
    return {"ranks": ranks}


async def why(engine: Engine, fields: Fields) -> Fields:
    op = fields["op"]
    barred = engine.memory.record.barred.get(op, {})
    ranks = await engine.ask("why", op)
    for rank in ranks:
        rank["impls"] = [{**_with_bar(impl, barred), **origin(engine, op, impl)} for impl in rank["impls"]]
    return {"op": op, "ranks": ranks}


def _with_bar(impl: Fields, barred: dict[str, str]) -> Fields:
    """`use` refuses what is barred, though the rank could run it."""
    reason = barred.get(impl["name"])
    return impl if reason is None else {**impl, "usable": False, "reason": f"barred: {reason}"}


async def manifest(engine: Engine, _fields: Fields) -> Fields:
    return {"manifest": engine.info.manifest}
