"""`ops`, `why` and `manifest` of a sidecar, which has one rank and no steps."""

from __future__ import annotations

from typing import Any

from ...library import LibraryOps

Fields = dict[str, Any]


def ops(here: LibraryOps, fields: Fields) -> Fields:
    stats = here.library.stats()
    rows = stats["ops"]
    if "op" in fields:
        here.declared(fields["op"])
        rows = [row for row in rows if row["op"] == fields["op"]]
    return {"ranks": [{"rank": 0, "step": 0, "epoch": 0, "window_s": stats["window_s"], "ops": rows}]}


def why(here: LibraryOps, fields: Fields) -> Fields:
    version = here.declared(fields["op"])
    told = here.library.why(fields["op"])
    impls = [{**impl, "reason": impl.get("reason", "")} for impl in told["impls"]]
    rank = {"rank": 0, "op_version": version, "active": told["active"], "impls": impls}
    return {"op": fields["op"], "ranks": [rank]}


def manifest(here: LibraryOps, _fields: Fields) -> Fields:
    return {"manifest": here.manifest}
