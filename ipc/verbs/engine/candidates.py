"""`register` and `candidates`: implementations from outside the library, and one list of all."""

from __future__ import annotations

from typing import Any

from ...candidate_list import listed
from ...engine import Engine

Fields = dict[str, Any]


async def register(engine: Engine, fields: Fields) -> Fields:
    row = await engine.candidates.register(fields["path"], fields.get("op"), fields.get("name"), fields.get("function"))
    ops = [row["op"]] if row["kind"] == "python" else sorted(row["ops"])
    rows = [each for each in await listed(engine, ops) if engine.candidates.row_of(each["op"], each["impl"]) == row]
    return {"candidates": rows}


async def candidates(engine: Engine, fields: Fields) -> Fields:
    if "op" in fields:
        engine.declared(fields["op"])
    ops = [fields["op"]] if "op" in fields else list(engine.coordinator.op_versions)
    return {"candidates": await listed(engine, ops)}
