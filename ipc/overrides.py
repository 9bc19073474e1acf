"""Overrides of one engine: granted and renewed by `use`, and taken back by the engine itself when their time is over.

A controller that is killed renews nothing more, so what it tried is taken back without it.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping
from dataclasses import replace
from typing import Any

from .clock import Clock
from .coordinator import Outcome
from .errors import IpcError
from .leases import Lease, Terms
from .memory import Memory
from .state import FRAMEWORK, Choice

log = logging.getLogger("opswap.overrides")
#: After these, nobody knows what runs, or another switch has to end first: the same is tried again.
AGAIN = ("OPSWAP_E_TIMEOUT", "OPSWAP_E_DIVERGED", "OPSWAP_E_BUSY", "OPSWAP_E_UNEXPECTED")
#: From a failure to the next try.
RETRY_MS = 2000
OVER = "its time is over"
Switch = Callable[[Choice], Awaitable[Outcome]]
AtLoad = Callable[[], Awaitable[Choice]]


class Overrides:
    """What of an engine's choice ends by itself; kept in `memory`."""

    def __init__(self, memory: Memory, clock: Clock) -> None:
        self._memory = memory
        self._clock = clock
        self._not_before = 0

    @property
    def leases(self) -> dict[str, Lease]:
        return self._memory.record.leases

    def report(self) -> list[dict[str, Any]]:
        """`Override` of messages.json, each."""
        return [lease.report(op, self._clock) for op, lease in self.leases.items()]

    def refuse_unless_there(self, changes: Mapping[str, str], owner: str) -> None:
        """Raises IpcError LEASE unless each of `changes` is an override of `owner`'s that has not ended."""
        for op, impl in changes.items():
            lease = self.leases.get(op)
            if lease is None or (lease.impl, lease.owner) != (impl, owner) or lease.left_ms(self._clock) <= 0:
                what = f"use: no override {op}={impl} of {_whose(owner)} to renew: {_there(lease)}"
                raise IpcError("OPSWAP_E_LEASE", what)

    def refuse_unless_of(self, op: str, impl: str, owner: str) -> None:
        """Raises IpcError LEASE unless this is an override of `owner`'s, whose time may be over."""
        lease = self.leases.get(op)
        if lease is None or (lease.impl, lease.owner) != (impl, owner):
            what = f"end_override: no override {op}={impl} of {_whose(owner)}: {_there(lease)}"
            raise IpcError("OPSWAP_E_LEASE", what)

    def granted(
        self, changes: Mapping[str, str], previous: Mapping[str, str], pinned: Collection[str], terms: Terms | None
    ) -> None:
        """Called after a switch by `use`: an override, or, without `terms`, a choice that stays. `pinned` are the ops
        that somebody had chosen before."""
        for op, impl in changes.items():
            earlier = self.leases.pop(op, None)
            if terms is not None:
                returns_to = earlier.returns_to if earlier else previous.get(op, impl)
                was_pinned = earlier.pinned if earlier else op in pinned
                self.leases[op] = Lease.begin(impl, returns_to, was_pinned, terms, self._clock)

    def ended(self, ops: list[str]) -> list[dict[str, Any]]:
        """Ends those of `ops` without a switch; what they were."""
        told = [self.leases[op].report(op, self._clock) for op in ops if op in self.leases]
        for op in ops:
            self.leases.pop(op, None)
        return told

    def over(self, ops: Iterable[str]) -> None:
        """The time of those of `ops` is over: a renewal is refused, and the return is tried until it is done."""
        for op in ops:
            if lease := self.leases.get(op):
                self.leases[op] = replace(lease, boot=self._clock.boot, ends_ms=self._clock.running_ms())

    def left(self) -> list[str]:
        """Ops that were switched to something else since."""
        return [op for op, lease in self.leases.items() if self._memory.record.choice.get(op) != lease.impl]

    def take_up(self) -> None:
        """After a start, before anything is switched: what ended meanwhile returns, and what is left counts on."""
        for op, lease in list(self.leases.items()):
            if self._memory.record.choice.get(op) != lease.impl:
                self._tell("override-dropped", f"{lease.impl} is not what runs any more", {op: lease}, {})
            elif lease.left_ms(self._clock) > 0:
                self.leases[op] = lease.taken_up(self._clock)
                continue
            else:
                self._return_at_start(op, lease)
            del self.leases[op]

    def _return_at_start(self, op: str, lease: Lease) -> None:
        choice = self._memory.record.choice
        choice.pop(op)
        if names := self._goals(op, lease):
            choice[op] = names[0]
        self._tell("override-ended", "its time ended while the engine was down", {op: lease}, choice)
        self._unpin({op: lease}, dict(choice))

    async def end_due(self, switch: Switch, at_load: AtLoad) -> None:
        """Takes back what is due. Where a rank does not answer it is tried again later."""
        now = self._clock.running_ms()
        due = {op: lease for op, lease in self.leases.items() if lease.left_ms(self._clock) <= 0}
        if not due or now < self._not_before:
            return
        try:
            await self._return(due, switch, at_load)
        except IpcError as error:
            self._not_before = now + RETRY_MS
            self._memory.counters["overrides_retried"] += 1
            log.error("%s cannot be taken back now: %s", ", ".join(due), error.message)

    async def end_now(self, op: str, switch: Switch, at_load: AtLoad) -> tuple[Choice, Outcome]:
        """Takes one back before its time: to what, and the switch. Where it raises IpcError, it is tried again until it
        is done, as one whose time is over."""
        lease = self.leases[op]
        self.over([op])
        first = self._goals(op, lease)[:1]
        try:
            return await self._first_of(op, lease, first, switch)
        except IpcError as error:
            if error.code in AGAIN:
                raise
        loaded = await _loaded(at_load)
        at_last = [*([loaded[op]] if op in loaded else []), FRAMEWORK]
        others = [name for name in self._goals(op, lease, at_last) if name not in first]
        return await self._first_of(op, lease, others, switch)

    async def _return(self, due: dict[str, Lease], switch: Switch, at_load: AtLoad) -> None:
        """All at one step where that goes, else one by one: what one op cannot do must not keep another."""
        goals = {op: name for op, lease in due.items() for name in self._goals(op, lease)[:1]}
        try:
            if len(goals) == len(due):
                await self._switched(due, goals, switch)
                self._tell("override-ended", OVER, due, goals)
                return
        except IpcError as error:
            if error.code in AGAIN:
                raise
            log.warning("overrides are taken back one by one: %s", error.message)
        loaded, failures = await _loaded(at_load), []
        for op, lease in due.items():
            at_last = [*([loaded[op]] if op in loaded else []), FRAMEWORK]
            try:
                goal, _ = await self._first_of(op, lease, self._goals(op, lease, at_last), switch)
                self._tell("override-ended", OVER, {op: lease}, goal)
            except IpcError as error:
                if error.code in AGAIN:
                    raise
                failures.append(error)
        if failures:
            raise failures[0]

    async def _first_of(self, op: str, lease: Lease, names: list[str], switch: Switch) -> tuple[Choice, Outcome]:
        refused = IpcError("OPSWAP_E_BARRED", f"{op}: all that {lease.impl} could be taken back to is barred")
        for name in names:
            try:
                return {op: name}, await self._switched({op: lease}, {op: name}, switch)
            except IpcError as error:
                if error.code in AGAIN:
                    raise
                refused = error
        raise refused

    async def _switched(self, due: dict[str, Lease], goals: Choice, switch: Switch) -> Outcome:
        outcome = await switch(goals)
        self.ended(list(due))
        self._unpin(due, goals)
        self._memory.counters["overrides_ended"] += len(due)
        log.warning("epoch %d: overrides ended: %s", outcome.epoch, goals)
        return outcome

    def _unpin(self, due: Mapping[str, Lease], goals: Mapping[str, str]) -> None:
        """What runs again and was nobody's choice before is none afterwards."""
        for op, lease in due.items():
            if not lease.pinned and goals.get(op) == lease.returns_to:
                self._memory.record.choice.pop(op, None)

    def _goals(self, op: str, lease: Lease, at_last: Iterable[str] = ()) -> list[str]:
        """What it may return to, the best first: what ran before, what has proven itself, then `at_last`."""
        record = self._memory.record
        others = [*reversed(record.proven.get(op, [])), *at_last]
        known = [lease.returns_to, *(name for name in others if name != lease.impl)]
        barred = record.barred.get(op, {})
        return [name for name in dict.fromkeys(known) if name not in barred]

    def _tell(self, kind: str, why: str, leases: dict[str, Lease], after: Choice) -> None:
        for op, lease in leases.items():
            about = f": {lease.reason}" if lease.reason else ""
            to = {op: after[op]} if op in after else {}
            whose = {"ticket": lease.ticket, "owner": lease.owner}
            self._memory.tell(kind, f"{why}{about}", before={op: lease.impl}, after=to, **whose)


def _whose(owner: str) -> str:
    return owner or "nobody"


def _there(lease: Lease | None) -> str:
    return "none is there" if lease is None else f"{lease.impl} of {_whose(lease.owner)} is there"


async def _loaded(at_load: AtLoad) -> Choice:
    """What was chosen at load; nothing where ranks chose differently, so that what else there is can be tried."""
    try:
        return await at_load()
    except IpcError as error:
        if error.code in AGAIN:
            raise
        return {}
