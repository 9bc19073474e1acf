"""Freezes: until a time nobody but their owner switches their ops, what they are made of, or what is made of them.

Times are of the wall clock, because people write them: a clock that is set forward ends a freeze, and one that is set
back prolongs it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime, timezone
from typing import Any

from .errors import IpcError, nearest
from .messages import FieldError, validator_of

#: What a file may hold.
MOST = 64
Freeze = dict[str, Any]
_freeze = validator_of("Freeze")


def read_freezes(value: Any) -> list[Freeze] | None:
    """Freezes as the state file has them; None for anything else."""
    if not isinstance(value, list) or len(value) > MOST:
        return None
    try:
        return [_freeze(each) for each in value]
    except FieldError:
        return None


class Freezes:
    """Those of one engine. `manifest` says what an op is made of."""

    def __init__(self, manifest: Mapping[str, Any]) -> None:
        self.kept: list[Freeze] = []
        self._composes = {op["op"]: op.get("composes", []) for op in manifest["ops"]}

    def lasting(self, now_ms: int) -> list[Freeze]:
        """Those that have not ended."""
        return [freeze for freeze in self.kept if now_ms < freeze["until_ms"]]

    def add(self, freeze: Freeze, now_ms: int) -> None:
        """Raises IpcError: NO_OP, FIELD when it has ended already, FROZEN when another owner has the name, BUSY."""
        for op in freeze["ops"]:
            if op not in self._composes:
                hint = nearest(op, list(self._composes))
                raise IpcError("OPSWAP_E_NO_OP", f"freeze {freeze['name']}: no op named {op!r}{hint}")
        if freeze["until_ms"] <= max(now_ms, freeze["from_ms"]):
            raise IpcError("OPSWAP_E_FIELD", f"freeze {freeze['name']}: until {_when(freeze)} is over before it begins")
        others = [each for each in self.lasting(now_ms) if each["name"] != freeze["name"]]
        self._owned(freeze["name"], freeze["owner"], now_ms)
        if len(others) >= MOST:
            raise IpcError("OPSWAP_E_BUSY", f"freeze {freeze['name']}: {MOST} freezes are there", "lift one of them")
        self.kept = [*others, {**freeze, "ops": list(dict.fromkeys(freeze["ops"]))}]

    def lift(self, name: str, owner: str | None, now_ms: int) -> None:
        """Raises IpcError: NO_FREEZE, with the nearest name; FROZEN when another owner has it."""
        self.kept = self.lasting(now_ms)
        names = [freeze["name"] for freeze in self.kept]
        if name not in names:
            raise IpcError("OPSWAP_E_NO_FREEZE", f"unfreeze: no freeze is named {name!r}{nearest(name, names)}")
        self._owned(name, owner, now_ms)
        self.kept = [freeze for freeze in self.kept if freeze["name"] != name]

    def refuse(self, verb: str, ops: Iterable[str], owner: str | None, now_ms: int) -> None:
        """Raises IpcError FROZEN when a freeze of somebody else holds one of `ops`."""
        for op in ops:
            for freeze in self.lasting(now_ms):
                if now_ms >= freeze["from_ms"] and freeze["owner"] != owner and self._holds(freeze, op):
                    what = f"{op} is frozen by {freeze['owner']} until {_when(freeze)} ({freeze['name']})"
                    raise IpcError("OPSWAP_E_FROZEN", f"{verb}: {what}: {freeze['reason']}", _remedy(freeze))

    def _owned(self, name: str, owner: str | None, now_ms: int) -> None:
        for freeze in self.lasting(now_ms):
            if freeze["name"] == name and freeze["owner"] != owner:
                asked = "no owner was named" if owner is None else f"{owner} asked"
                raise IpcError("OPSWAP_E_FROZEN", f"{name} is {freeze['owner']}'s, and {asked}", _remedy(freeze))

    def _holds(self, freeze: Freeze, op: str) -> bool:
        under = self._under(op)
        return not freeze["ops"] or any(name in under or op in self._under(name) for name in freeze["ops"])

    def _under(self, op: str) -> set[str]:
        """The op, and what it is made of, however deep."""
        found: set[str] = set()
        waiting = [op]
        while waiting:
            name = waiting.pop()
            if name not in found:
                found.add(name)
                waiting += self._composes.get(name, [])
        return found


def _when(freeze: Freeze) -> str:
    try:
        return datetime.fromtimestamp(freeze["until_ms"] / 1000, timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
    except (OSError, OverflowError, ValueError):  # beyond the year 9999
        return f"{freeze['until_ms']} ms"


def _remedy(freeze: Freeze) -> str:
    return f"wait, or ask {freeze['owner']}, who may also end it: `opswap freeze lift {freeze['name']} --owner NAME`"
