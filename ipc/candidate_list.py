"""Every implementation of an op, whoever brought it, as one list: where it comes from and how it stands."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .engine import Engine

Fields = dict[str, Any]
#: Kinds that run a Python callable.
PYTHON_KINDS = ("engine", "python")


async def listed(engine: Engine, ops: list[str]) -> list[Fields]:
    """`Candidate` of messages.json for each implementation of these ops."""
    told = await asyncio.gather(*(engine.ask("why", op) for op in ops))
    rows = [row for op, ranks in zip(ops, told, strict=True) for row in _of_op(engine, op, ranks)]
    python = sorted({row["op"] for row in rows if row["kind"] in PYTHON_KINDS and row["usable"]})
    costs = await dispatch_costs(engine, python)
    return [{**row, "dispatch_ns": costs[row["op"]]} if _has_cost(row, costs) else row for row in rows]


async def dispatch_costs(engine: Engine, ops: list[str]) -> dict[str, float]:
    """What the switch costs at least before a Python callable of these ops runs, on the slowest rank."""
    if not ops:
        return {}
    ranks = await engine.ask("dispatch", ops)
    return {op: max(rank["ns"][op] for rank in ranks) for op in ops}


def origin(engine: Engine, op: str, impl: Mapping[str, Any]) -> Fields:
    """Kind and digest of one implementation. What the engine brought has no digest of its own."""
    if row := engine.candidates.row_of(op, impl["name"]):
        return {"kind": row["kind"], "digest": row["digest"]}
    if impl["external"]:
        return {"kind": "engine", "digest": ""}
    return {"kind": "library", "digest": engine.info.version["build_digest"]}


def _of_op(engine: Engine, op: str, ranks: list[Fields]) -> list[Fields]:
    record = engine.memory.record
    barred = record.barred.get(op, {})
    names = list(dict.fromkeys(impl["name"] for rank in ranks for impl in rank["impls"]))
    rows = []
    for name in names:
        found = [next((i for i in rank["impls"] if i["name"] == name), None) for rank in ranks]
        there = [impl for impl in found if impl]
        reason = next((impl["reason"] for impl in there if not impl["usable"]), "")
        missing = [str(rank["rank"]) for rank, impl in zip(ranks, found, strict=True) if impl is None]
        if missing:
            reason = f"not registered on rank {', '.join(missing)}"
        standing = {
            "active": all(rank["active"] == name for rank in ranks),
            "on_trial": record.trial.get(op) == name,
            "barred": barred.get(name, ""),
            "quarantine": engine.quarantine.standing(op, name),
        }
        usable = not missing and all(impl["usable"] for impl in there) and name not in barred
        told = {"op": op, "impl": name, **origin(engine, op, there[0]), "usable": usable}
        rows.append({**told, "reason": reason or there[0]["reason"], **standing})
    return rows


def _has_cost(row: Fields, costs: Mapping[str, float]) -> bool:
    return row["kind"] in PYTHON_KINDS and bool(row["usable"]) and row["op"] in costs
