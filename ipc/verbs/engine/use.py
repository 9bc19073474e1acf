"""`use`, `end_override`, `reset` and `panic`: switches of all ranks."""

from __future__ import annotations

from typing import Any

from ...engine import USE_TIMEOUT_S, Asked, Engine
from ...errors import IpcError

Fields = dict[str, Any]
HOW = ("neutral", "reason", "ticket", "owner", "ttl_ms", "renew", "if_epoch")


async def use(engine: Engine, fields: Fields) -> Fields:
    how = Asked(**{name: fields[name] for name in HOW if name in fields})
    if how.renew and how.ttl_ms is None:
        raise IpcError("OPSWAP_E_FIELD", "use: renew asks for ttl_ms beside it")
    outcome = await engine.use(_as_map(fields["changes"]), _timeout(fields), how)
    return {**outcome.report(), "changes": fields["changes"]}


async def end_override(engine: Engine, fields: Fields) -> Fields:
    op, impl, owner = fields["op"], fields["impl"], fields.get("owner", "")
    changes, outcome = await engine.end_override(op, impl, owner, _timeout(fields))
    return {**outcome.report(), "changes": _rows(changes)}


async def reset(engine: Engine, fields: Fields) -> Fields:
    if "op" in fields:
        engine.declared(fields["op"])
    changes, outcome, lifted = await engine.reset(fields.get("op"), _timeout(fields), fields.get("owner", ""))
    return {**outcome.report(), "changes": _rows(changes), "lifted": lifted}


async def panic(engine: Engine, fields: Fields) -> Fields:
    return await engine.panic(fields.get("reason", ""), _timeout(fields))


def _timeout(fields: Fields) -> float:
    return float(fields.get("timeout_ms", USE_TIMEOUT_S * 1000) / 1000)


def _rows(changes: dict[str, str]) -> list[dict[str, str]]:
    return [{"op": op, "impl": impl} for op, impl in changes.items()]


def _as_map(changes: list[dict[str, str]]) -> dict[str, str]:
    wanted: dict[str, str] = {}
    for change in changes:
        if wanted.setdefault(change["op"], change["impl"]) != change["impl"]:
            raise IpcError("OPSWAP_E_FIELD", f"use: changes name {change['op']} twice, with different implementations")
    return wanted
