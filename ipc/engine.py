"""One engine as its agent knows it: who it is, its ranks, what they were switched to, and what is remembered of it."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from .candidate_probe import probe
from .candidates import Candidates, Probe
from .clock import Clock, SystemClock
from .coordinator import Coordinator, Outcome, RankGroup, all_answered, ask
from .errors import IpcError, nearest
from .freezes import Freezes
from .leases import Terms
from .memory import TRIAL_S, Memory
from .overrides import Overrides
from .panic import Another, Done, Goal, asked_of_all, behind, carry_out, goal_of
from .quarantine.keeper import Quarantine
from .restore import Restored, restore
from .state import StateFile

log = logging.getLogger("opswap.engine")
ASK_TIMEOUT_S = 8.0
USE_TIMEOUT_S = 30.0
#: As a reason why cached KV stays as it is: what a quarantine has seen.
VERIFIED = "verified"
Check = dict[str, str]


async def _no_checks() -> list[Check]:
    return []


@dataclass(frozen=True)
class AgentInfo:
    """What the adapter knows and the agent reports.

    `version` is opswap.version(), `manifest` is opswap.manifest(), both of this process; `framework` has name, version,
    model and, where it serves over HTTP, url; `doctor` adds checks of the adapter's own ({name, state: ok|warn|fail,
    message, remedy}); `died` says whether the engine ended by itself; `probe` loads a candidate in another process.
    """

    version: dict[str, Any]
    manifest: dict[str, Any]
    framework: dict[str, str]
    doctor: Callable[[], Awaitable[list[Check]]] = _no_checks
    died: Callable[[], bool] = lambda: False
    clock: Clock = field(default_factory=SystemClock.make)
    probe: Probe = probe


@dataclass(frozen=True)
class Asked:
    """What else a `use` says.

    Attributes:
        neutral: why cached KV stays as good as before, as Coordinator has it, or `verified`.
        reason, ticket, owner: why, for what, and who asks.
        ttl_ms: the choice ends by itself after it.
        renew: nothing but the renewal of overrides that are there.
        if_epoch: the committed epoch that whoever asks has seen.
    """

    neutral: str | None = None
    reason: str = ""
    ticket: str = ""
    owner: str = ""
    ttl_ms: int | None = None
    renew: bool = False
    if_epoch: int | None = None

    @property
    def terms(self) -> Terms | None:
        """None for a choice that stays."""
        return None if self.ttl_ms is None else Terms(self.ttl_ms, self.reason, self.ticket, self.owner)


class Engine:
    """What the agent's verbs work on. `counters` and `started` are those of its server."""

    def __init__(self, name: str, ranks: RankGroup, info: AgentInfo, counters: Counter[str], started: int) -> None:
        self.name = name
        self.ranks = ranks
        self.info = info
        self.counters = counters
        self.started = started
        self.restored = Restored()
        self.switching = asyncio.Lock()
        self._trial_ends = 0.0
        self._shadow_ends: dict[str, float] = {}
        self.candidates = Candidates(self, info.probe)
        self.quarantine = Quarantine(self.candidates.row_of, info.version["build_digest"], info.framework)
        versions = {op["op"]: op["version"] for op in info.manifest["ops"]}
        plans = info.version.get("plans", "")
        self.coordinator = Coordinator(ranks, info.version["build_digest"], versions, plans)

    @property
    def choice(self) -> dict[str, str]:
        """What was switched and is not unpinned: implementation per op."""
        return self.memory.record.choice

    async def restore(self, file: Path) -> None:
        """Brings the ranks to what `file` remembers, and remembers there what follows."""
        model, build = self.info.framework["model"], self.info.version["build_digest"]
        clock, freezes = self.info.clock, Freezes(self.info.manifest)
        self.memory = Memory(StateFile(file), model, build, self.counters, freezes, clock)
        self.memory.file.sweep()
        self.overrides = Overrides(self.memory, clock)
        self.quarantine.load(file.with_suffix(".quarantine"))
        async with self.switching:
            use = partial(self._switch, timeout=USE_TIMEOUT_S)
            self.restored = await restore(self.memory, self.overrides, self.coordinator, use, USE_TIMEOUT_S)

    async def ask(self, method: str, *args: Any) -> list[dict[str, Any]]:
        """One answer per rank; raises IpcError, with the code and reason of the first rank that refuses."""
        return all_answered(await ask(self.ranks, method, ASK_TIMEOUT_S, *args))

    async def use(self, changes: dict[str, str], timeout: float, how: Asked = Asked()) -> Outcome:
        """Switches all ranks; raises IpcError, BUSY when another switch is under way."""
        async with self._alone("use"):
            self._allowed(changes, how)
            if how.neutral == VERIFIED:
                how = replace(how, neutral=self.quarantine.verified(changes, await self._active(changes)))
            pinned = set(self.choice)
            try:
                outcome = await self._switch(changes, timeout, how.neutral)
            except IpcError:
                self._lease_what_may_run(changes, how)
                raise
            previous = outcome.acks[0]["previous"] if outcome.acks else changes
            self.overrides.granted(changes, previous, pinned, how.terms)
            self.memory.save()
        self._log(outcome, changes, how)
        return outcome

    def _lease_what_may_run(self, changes: dict[str, str], how: Asked) -> None:
        """Where ranks were left apart, some may run what was to end by itself: it does all the same."""
        if how.terms is None or not self.coordinator.is_apart(changes):
            return
        proven = self.memory.record.proven
        # What ran was proven or on trial when the commit began.
        ran = {op: self.choice.get(op) or proven.get(op, [impl])[-1] for op, impl in changes.items()}
        self.overrides.granted(changes, ran, self.choice, how.terms)
        self.memory.save()

    def _allowed(self, changes: dict[str, str], how: Asked) -> None:
        """Raises IpcError EPOCH, LEASE or FROZEN."""
        if how.if_epoch is not None and how.if_epoch != self.coordinator.epoch:
            told = f"epoch {self.coordinator.epoch} is committed, and {how.if_epoch} was expected"
            raise IpcError("OPSWAP_E_EPOCH", f"use: {told}", "look at what runs now, and ask again")
        if how.renew:
            self.overrides.refuse_unless_there(changes, how.owner)
        self.refuse_frozen("use", changes, how.owner)

    def _log(self, outcome: Outcome, changes: dict[str, str], how: Asked) -> None:
        kv = f"cached KV is kept: {how.neutral}" if how.neutral else ""
        ends = f"for {how.ttl_ms / 1000:g} s" if how.ttl_ms else ""
        why = "".join(f"; {part}" for part in (how.reason, kv, ends) if part)
        level = logging.DEBUG if how.renew else logging.INFO
        log.log(level, "epoch %d at step %d: %s%s", outcome.epoch, outcome.step, changes, why)

    async def reset(
        self, op: str | None, timeout: float, owner: str = ""
    ) -> tuple[dict[str, str], Outcome, list[dict[str, str]]]:
        """Unpins an op, or all: what the library chose at load runs again, and what is barred is not any more.

        What it switched to, the switch, and what was barred.
        """
        async with self._alone("reset"):
            known = {*self.choice, *self.memory.record.barred}
            ops = sorted(known) if op is None else [op]
            self.refuse_frozen("reset", ops, owner)
            changes = await self.at_load(each for each in ops if each in self.choice)
            still = Outcome(self.coordinator.epoch, 0, [])
            outcome = await self._switch(changes, timeout, lifts_bars=True) if changes else still
            return changes, outcome, self.memory.forget(ops)

    async def at_load(self, ops: Iterable[str]) -> dict[str, str]:
        """What ran before the first switch, of those of `ops` that were ever switched.

        Raises IpcError REFUSED where the ranks chose differently.
        """
        wanted = list(ops)
        ranks = [rank["at_load"] for rank in await self.ask("status")]
        found = {op: ranks[0][op] for op in wanted if op in ranks[0]}
        if any({op: rank.get(op) for op in found} != found for rank in ranks):
            raise IpcError("OPSWAP_E_REFUSED", f"ranks chose differently at load: {ranks}")
        return found

    def refuse_frozen(self, verb: str, ops: Iterable[str], owner: str) -> None:
        """Raises IpcError FROZEN."""
        self.memory.freezes.refuse(verb, ops, owner or None, self.info.clock.wall_ms())

    async def end_overrides(self) -> None:
        """Takes back the overrides whose time is over; while another switch is under way, the next call does."""
        if self.switching.locked() or not self.overrides.leases:
            return
        async with self.switching:
            switch = partial(self._switch, timeout=USE_TIMEOUT_S)
            await self.overrides.end_due(switch, partial(self.at_load, list(self.overrides.leases)))

    async def end_override(self, op: str, impl: str, owner: str, timeout: float) -> tuple[dict[str, str], Outcome]:
        """Takes an override back before its time, as when that is over; what runs again, and the switch. No freeze
        stops it. It waits for a switch that is under way; raises IpcError, LEASE when this override is not there."""
        async with self.switching:
            self.overrides.refuse_unless_of(op, impl, owner)
            switch = partial(self._switch, timeout=timeout)
            done = await self.overrides.end_now(op, switch, partial(self.at_load, [op]))
            self.memory.save()
        return done

    async def panic(self, reason: str, timeout: float) -> dict[str, Any]:
        """As messages.json has it. It waits for a switch that is under way, and raises IpcError when a rank does not
        answer."""
        why = reason or "no reason was given"
        async with self.switching:
            whys = await asked_of_all(partial(self.ask, "why"), self.coordinator.op_versions)
            first, *_ = await self.ask("status")
            still = Outcome(self.coordinator.epoch, first["step"], [])

            def goal(op: str, refused: frozenset[str] = frozenset()) -> Goal:
                return goal_of(op, whys[op], self.memory.record, first["at_load"], refused)

            done = await self._carry_out(goal, timeout, still)
            stay = [goal.op for goal in done.goals if goal.stays]
            ended = self.overrides.ended([op for op in self.overrides.leases if op not in stay])
            self.overrides.over(stay)
            moved = [goal for goal in done.goals if goal.before != goal.to]
            before, after = {goal.op: goal.before for goal in moved}, {goal.op: goal.to for goal in moved}
            self.memory.tell("panic", why, before=before, after=after)
            log.warning("epoch %d: panic: %s; %s", done.outcome.epoch, why, after or "nothing to switch")
            stopped = await self._stop_watching(done.trouble)
            done.trouble += filter(None, [await self.memory.kept()])
        changes = [{"op": goal.op, "impl": goal.to} for goal in moved]
        return {**done.report(), "changes": changes, "overrides": ended, **stopped}

    async def _carry_out(self, goal: Another, timeout: float, still: Outcome) -> Done:
        goals = [goal(op, frozenset()) for op in self.coordinator.op_versions]
        switch = partial(self._switch, timeout=timeout, must_be_kept=False)
        try:
            return await carry_out(goals, self.coordinator.divergence is not None, switch, still, goal)
        except IpcError as error:
            await self._stop_watching([])
            self.overrides.ended(self.overrides.left())
            self.memory.tell("panic-failed", error.message)
            told = behind(await self.ask("status"))
            raise IpcError(error.code, f"{error.message}; {told}", error.remedy, error.ranks) from error

    async def _stop_watching(self, trouble: list[str]) -> dict[str, list[str]]:
        """Ends all shadows and recordings; of which ops there were any on some rank."""
        try:
            ranks = await self.ask("watch_stop", list(self.coordinator.op_versions))
        except IpcError as error:
            trouble.append(f"shadows and recordings may go on: {error.message}")
            ranks = []
        else:
            self.memory.unshadowed(list(self.memory.record.shadowed))
        kinds = ("shadows", "recordings")
        return {kind: sorted({op for rank in ranks for op in rank[kind]}) for kind in kinds}

    async def judge_trials(self) -> None:
        """What is on trial has proven itself when the engine has lived for TRIAL_S and every rank has called it."""
        trial = dict(self.memory.record.trial)
        if not trial or self.switching.locked() or time.monotonic() < self._trial_ends:
            return
        ranks = await self.ask("ops")
        called = {op: impl for op, impl in trial.items() if all(_calls(rank, op, impl) for rank in ranks)}
        if called:
            self.memory.proved(called)

    async def shadowing(self, op: str, candidate: str) -> None:
        """Called before a shadow of `candidate` starts; raises IpcError IO."""
        # Before the disk knows of it: while that is written, judge_shadows sees a candidate that runs nowhere yet.
        self._shadow_ends[op] = time.monotonic() + TRIAL_S
        await self.memory.before_shadow(op, candidate)

    async def judge_shadows(self) -> None:
        """An engine that has lived for TRIAL_S beside the calls of a candidate will not have died of it."""
        now = time.monotonic()
        for op in list(self.memory.record.shadowed):
            if now < self._shadow_ends.get(op, now):
                continue
            ranks = await self.ask("shadow_status", op)
            if all(not rank["running"] or rank["recorded"] for rank in ranks):
                self.memory.unshadowed([op])

    async def end(self) -> None:
        """The engine is stopped. Where it died, what is on trial is what it died under."""
        await self.memory.end(self.info.died())

    def declared(self, op: str) -> None:
        """Raises IpcError NO_OP, with the nearest name, when there is no such op."""
        if op not in self.coordinator.op_versions:
            raise IpcError("OPSWAP_E_NO_OP", f"no op named {op!r}{nearest(op, list(self.coordinator.op_versions))}")

    async def _active(self, ops: Iterable[str]) -> dict[str, str]:
        """What runs now, by op; raises IpcError where ranks differ, or an op is not there."""
        active = {}
        for op in ops:
            found = {rank["active"] for rank in await self.ask("why", op)}
            if len(found) != 1:
                raise IpcError("OPSWAP_E_DIVERGED", f"{op}: ranks run {', '.join(sorted(found))}")
            active[op] = found.pop()
        return active

    @asynccontextmanager
    async def _alone(self, verb: str) -> AsyncIterator[None]:
        if self.switching.locked():
            raise IpcError("OPSWAP_E_BUSY", f"{verb}: another switch is under way")
        async with self.switching:
            yield

    async def _switch(
        self,
        changes: dict[str, str],
        timeout: float,
        neutral: str | None = None,
        must_be_kept: bool = True,
        lifts_bars: bool = False,
    ) -> Outcome:
        if not lifts_bars:
            self.memory.refuse_barred(changes)
        self.quarantine.refuse(changes)
        on_trial = dict(self.memory.record.trial)
        try:
            ready = partial(self.memory.before, changes, must_be_kept=must_be_kept)
            outcome = await self.coordinator.use(changes, timeout, neutral, ready)
        except IpcError:
            # Where ranks may run different choices, a candidate may still run on one.
            if self.memory.record.trial != on_trial and not self.coordinator.is_apart(changes):
                self.memory.taken_back()
            raise
        if outcome.acks:
            self.counters["switches"] += 1
            self._trial_ends = time.monotonic() + TRIAL_S
        self.memory.after(outcome.epoch, changes, is_new=bool(outcome.acks))
        return outcome


def _calls(rank: dict[str, Any], op: str, impl: str) -> int:
    rows = [row for each in rank["ops"] if each["op"] == op for row in each["impls"] if row["name"] == impl]
    return sum(row["calls"] for row in rows)
