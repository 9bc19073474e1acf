"""`ops`, `why` and `manifest` of an engine: counters, reasons and declarations."""

from __future__ import annotations

from typing import Any

from ...engine import Engine

Fields = dict[str, Any]


async def ops(engine: Engine, fields: Fields) -> Fields:
    ranks = await engine.ask("ops")
    if "op" in fields:
        engine.declared(fields["op"])
        ranks = [{**rank, "ops": [row for row in rank["ops"] if row["op"] == fields["op"]]} for rank in ranks]
    return {"ranks": ranks}


async def why(engine: Engine, fields: Fields) -> Fields:
    return {"op": fields["op"], "ranks": await engine.ask("why", fields["op"])}


async def manifest(engine: Engine, _fields: Fields) -> Fields:
    return {"manifest": engine.info.manifest}
