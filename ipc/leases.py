"""Overrides that end: for each, what it returns to, and how much of its time is left.

While the machine runs, time is CLOCK_BOOTTIME, which nobody sets. After a restart of the machine there is only the
wall clock: one that was set back gives at most the whole time again, and one that was set forward ends the override.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any

from .clock import Clock
from .messages import SAFE_INT

NUMBERS = ("ttl_ms", "since_ms", "ends_ms")
TEXTS = ("impl", "returns_to", "boot", "reason", "ticket", "owner")


@dataclass(frozen=True)
class Terms:
    """What whoever overrides says of it."""

    ttl_ms: int
    reason: str = ""
    ticket: str = ""
    owner: str = ""


@dataclass(frozen=True)
class Lease:
    """An override of one op.

    Attributes:
        impl, returns_to: what runs, and what ran before the first of the overrides that followed each other.
        ttl_ms: the whole time, from the last renewal on.
        since_ms: when that was, by the wall clock.
        boot, ends_ms: when it ends, by the clock of this start of the machine.
        pinned: what ran before was somebody's choice, and not what the library chose at load.
    """

    impl: str
    returns_to: str
    ttl_ms: int
    since_ms: int
    boot: str
    ends_ms: int
    reason: str = ""
    ticket: str = ""
    owner: str = ""
    pinned: bool = True

    @staticmethod
    def begin(impl: str, returns_to: str, pinned: bool, terms: Terms, clock: Clock) -> Lease:
        ends = clock.running_ms() + terms.ttl_ms
        told = (terms.reason, terms.ticket, terms.owner, pinned)
        return Lease(impl, returns_to, terms.ttl_ms, clock.wall_ms(), clock.boot, ends, *told)

    def left_ms(self, clock: Clock) -> int:
        """0 or less when it has ended; never more than the whole time."""
        if self.boot == clock.boot:
            return min(self.ttl_ms, self.ends_ms - clock.running_ms())
        return min(self.ttl_ms, self.ttl_ms - (clock.wall_ms() - self.since_ms))

    def taken_up(self, clock: Clock) -> Lease:
        """The same in a new process: what is left counts on by the clock of this start of the machine."""
        left = self.left_ms(clock)
        ends, since = clock.running_ms() + left, clock.wall_ms() - (self.ttl_ms - left)
        return replace(self, since_ms=max(0, since), boot=clock.boot, ends_ms=ends)

    def report(self, op: str, clock: Clock) -> dict[str, Any]:
        """`Override` of messages.json."""
        told = {"op": op, "impl": self.impl, "returns_to": self.returns_to, "ttl_ms": self.ttl_ms}
        about = {"reason": self.reason, "ticket": self.ticket, "owner": self.owner}
        return {**told, "left_ms": max(0, self.left_ms(clock)), **about}


def read_lease(value: Any) -> Lease | None:
    """A lease as the state file has it; None for anything else."""
    value = {"pinned": True, **value} if isinstance(value, dict) else {}
    if set(value) != {each.name for each in fields(Lease)} or type(value["pinned"]) is not bool:
        return None
    numbers, texts = [value[name] for name in NUMBERS], [value[name] for name in TEXTS]
    if not all(type(number) is int and 0 <= number < SAFE_INT for number in numbers):
        return None
    return Lease(**value) if all(isinstance(text, str) for text in texts) else None
