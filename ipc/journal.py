"""What an engine did by itself, under rising numbers, so that whoever reads later learns all of it once."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from .messages import SAFE_INT, FieldError, validator_of

#: The newest are kept.
MOST = 200
MOST_TEXT = 512
Event = dict[str, Any]
_event = validator_of("Event")


@dataclass
class Journal:
    """Events of one engine. `id` is another one where an earlier journal was lost, and numbers begin anew."""

    id: str = field(default_factory=lambda: secrets.token_hex(8))
    last: int = 0
    events: list[Event] = field(default_factory=list)

    def add(
        self,
        kind: str,
        reason: str,
        *,
        time_ms: int,
        epoch: int,
        before: Mapping[str, str] | None = None,
        after: Mapping[str, str] | None = None,
        ticket: str = "",
        owner: str = "",
    ) -> None:
        self.last += 1
        what = {"from": dict(before or {}), "to": dict(after or {}), "reason": reason[:MOST_TEXT]}
        event = {"n": self.last, "time_ms": time_ms, "kind": kind, "epoch": epoch, **what}
        self.events = [*self.events, {**event, "ticket": ticket, "owner": owner}][-MOST:]

    def after(self, number: int) -> list[Event]:
        """Those with higher numbers that are still kept, the oldest first."""
        return [event for event in self.events if event["n"] > number]


def read_journal(value: Any) -> Journal | None:
    """A journal as the state file has it; None for anything else."""
    if not isinstance(value, dict) or set(value) != {"id", "last", "events"} or not isinstance(value["events"], list):
        return None
    if type(value["id"]) is not str or type(value["last"]) is not int or not 0 <= value["last"] < SAFE_INT:
        return None
    try:
        events = [_event(each) for each in value["events"][-MOST:]]
    except FieldError:
        return None
    numbers = [event["n"] for event in events]
    rises = all(one < other for one, other in pairwise(numbers))
    return Journal(value["id"][:64], value["last"], events) if rises and max([0, *numbers]) <= value["last"] else None
