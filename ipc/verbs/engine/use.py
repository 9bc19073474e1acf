"""`use`: a switch of all ranks."""

from __future__ import annotations

from typing import Any

from ...engine import USE_TIMEOUT_S, Engine
from ...errors import IpcError

Fields = dict[str, Any]


async def use(engine: Engine, fields: Fields) -> Fields:
    outcome = await engine.use(_as_map(fields["changes"]), fields.get("timeout_ms", USE_TIMEOUT_S * 1000) / 1000)
    return {"epoch": outcome.epoch, "step": outcome.step, "changes": fields["changes"], "acks": outcome.acks}


def _as_map(changes: list[dict[str, str]]) -> dict[str, str]:
    wanted: dict[str, str] = {}
    for change in changes:
        if wanted.setdefault(change["op"], change["impl"]) != change["impl"]:
            raise IpcError("OPSWAP_E_FIELD", f"use: changes name {change['op']} twice, with different implementations")
    return wanted
