"""What an engine remembers of its implementations: what was chosen, what has proven itself, and what it died under.

A candidate is an implementation that has not yet run here for TRIAL_S. Before its first use the state file says that it
is on trial; an engine that starts and reads that died under it, bars it, and goes to what ran well before.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from typing import Any

from .clock import Clock
from .errors import IpcError
from .freezes import Freezes
from .journal import Journal
from .state import MAX_BARRED, MAX_PROVEN, Choice, Kept, Record, StateFile, text_of

log = logging.getLogger("opswap.memory")
#: How long an engine has to live with a candidate that is called, until it has proven itself.
TRIAL_S = 60.0
MOST_REASON = 1000


class Memory:
    """One engine's memory; `record` is that of this model and build, and `others` are kept for theirs."""

    def __init__(
        self, file: StateFile, model: str, build: str, counters: Counter[str], freezes: Freezes, clock: Clock
    ) -> None:
        self.file = file
        self.counters = counters
        self.freezes = freezes
        self.journal = Journal()
        self._clock = clock
        self.record = Record(model, build)
        self.others: list[Record] = []
        self._unsaved = False
        self._saving: asyncio.Task[None] | None = None
        self._writing = asyncio.Lock()

    def load(self) -> str:
        """Takes up what the file holds; why the last run's choice is refused, empty when it is not.

        Raises UnreadableState, and then remembers nothing.
        """
        model, build = self.record.model, self.record.build
        kept = self.file.read()
        records, self.freezes.kept, self.journal = kept.records, kept.freezes, kept.journal
        mine = next((record for record in records if record.is_of(model, build)), None)
        self.others = [record for record in records if record is not mine]
        self.record = mine or self.record
        # Epochs keep rising across restarts, so that nobody sees one number twice.
        self.record.epoch = max([self.record.epoch, *(record.epoch for record in records)])
        if not records or records[0] is mine or not records[0].choice:
            return ""
        last = records[0]
        differs = [f"model {last.model}, and this is {model}"] if last.model != model else []
        differs += [f"build {last.build[:16]}, and this is {build[:16]}"] if last.build != build else []
        return f"the choice of the last run is refused: it was made for {' and '.join(differs)}"

    def bar_what_it_died_under(self) -> Choice:
        """Bars what was on trial or in a shadow when the last run ended, and chooses what was proven before in place of
        what was on trial; what was barred."""
        record = self.record
        died = record.shadowed | record.trial
        for where, candidates in (("in a shadow", record.shadowed), ("on trial", record.trial)):
            for op, impl in candidates.items():
                reason = f"the engine died while it was {where} (epoch {record.epoch})"
                record.barred.setdefault(op, {})[impl] = reason
        for op in record.trial:
            self.fall_back(op)
        record.trial, record.shadowed = {}, {}
        if died:
            self.save()
        return died

    def fall_back(self, op: str, there: Collection[str] | None = None) -> None:
        """Chooses what an override of it returns to, else what has proven itself last, of those that are not
        barred and, where that is known, `there`; else nothing."""
        record, barred = self.record, self.record.barred.get(op, {})
        record.choice.pop(op, None)
        lease = record.leases.pop(op, None)
        known = [*record.proven.get(op, []), *([lease.returns_to] if lease else [])]
        if good := [impl for impl in known if impl not in barred and (there is None or impl in there)]:
            record.choice[op] = good[-1]

    def leave_barred(self) -> dict[str, str]:
        """After a start, what is chosen and was barred while it ran, in words by op; another one is chosen."""
        barred = {row["op"]: row for row in self.barred() if self.record.choice.get(row["op"]) == row["impl"]}
        for op in barred:
            self.fall_back(op)
        return {op: f"{op}={row['impl']} is barred: {row['reason']}" for op, row in barred.items()}

    def refuse_barred(self, changes: Mapping[str, str]) -> None:
        """Raises IpcError BARRED when one of `changes` is."""
        for op, impl in changes.items():
            if reason := self.record.barred.get(op, {}).get(impl):
                raise IpcError(
                    "OPSWAP_E_BARRED",
                    f"{op}: {impl} is barred: {reason}",
                    f"`opswap reset {op}` lifts that, when you know why it died",
                )

    def refuse_full(self, what: str, candidates: Mapping[str, str]) -> None:
        """Raises IpcError BUSY where one more candidate might come to be barred than the record holds: what is barred
        already must not be forgotten for it."""
        record = self.record
        new = {*candidates.items(), *record.trial.items(), *record.shadowed.items()}
        if len(self.barred()) + len(new) <= MAX_BARRED:
            return
        told = ", ".join(f"{op}={impl}" for op, impl in candidates.items())
        full = f"{len(self.barred())} implementations are barred, of at most {MAX_BARRED}"
        raise IpcError(
            "OPSWAP_E_BUSY",
            f"{what}: {told} may not be tried: {full}",
            "`opswap reset OP` lifts the bars of an op whose candidates are gone for good",
        )

    async def before(self, changes: Mapping[str, str], previous: Mapping[str, str], must_be_kept: bool = True) -> None:
        """Called before a commit. What ran until now without a trial has proven itself; candidates are on trial from
        here on, which is on the disk when this returns. Raises IpcError IO when it cannot be and `must_be_kept`."""
        for op, impl in previous.items():
            if op not in self.record.trial:
                self._prove(op, impl)
        candidates = {op: impl for op, impl in changes.items() if impl not in self.record.proven.get(op, [])}
        if not candidates:
            return
        if must_be_kept:
            self.refuse_full("use", candidates)
        kept = dict(self.record.trial)
        self.record.trial |= candidates
        try:
            await self._write()
        except OSError as error:
            if not must_be_kept:
                return
            self.record.trial = kept
            what = f"{self.file.path}: {error.strerror}, so nothing would tell that the engine died under"
            told = ", ".join(f"{op}={impl}" for op, impl in candidates.items())
            raise IpcError("OPSWAP_E_IO", f"use: {what} {told}; nothing was switched") from error

    async def before_shadow(self, op: str, impl: str) -> None:
        """Called before a candidate runs in a shadow; says on the disk that it does, where it has not proven itself.
        Raises IpcError IO when that cannot be said."""
        if impl in self.record.proven.get(op, []) or self.record.choice.get(op) == impl:
            return
        self.refuse_full("shadow_start", {op: impl})
        self.record.shadowed[op] = impl
        try:
            await self._write()
        except OSError as error:
            self.unshadowed([op])
            what = f"{self.file.path}: {error.strerror}, so nothing would tell that the engine died under {op}={impl}"
            raise IpcError("OPSWAP_E_IO", f"shadow_start: {what}; no shadow was started") from error

    def shadowed(self, op: str, impl: str | None) -> None:
        """Of this op `impl` is in a shadow, or nothing."""
        self.unshadowed([op])
        if impl is not None:
            self.record.shadowed[op] = impl

    def unshadowed(self, ops: Collection[str]) -> None:
        """Candidates of these ops run in no shadow, or have run there for long enough."""
        gone = [op for op in ops if self.record.shadowed.pop(op, None) is not None]
        if gone:
            self.save()

    def after(self, epoch: int, changes: Mapping[str, str], is_new: bool) -> None:
        """Called after a switch. Where there was none (not `is_new`), all of `changes` ran already."""
        for op, impl in {} if is_new else changes.items():
            if op not in self.record.trial:
                self._prove(op, impl)
        self.record.epoch = epoch
        self.record.choice |= changes
        self.taken_back()

    def taken_back(self) -> None:
        """Only what is chosen can still kill the engine. Called after a switch, and where one did not happen."""
        record = self.record
        record.trial = {op: impl for op, impl in record.choice.items() if impl not in record.proven.get(op, [])}
        self.save()

    def choose_only(self, choice: Mapping[str, str]) -> None:
        """Called after a switch to `choice`: nothing else of what is remembered runs."""
        self.record.choice = dict(choice)
        self.taken_back()

    def proved(self, candidates: Mapping[str, str]) -> None:
        """These have run for long enough."""
        for op, impl in candidates.items():
            if self.record.trial.get(op) == impl:
                del self.record.trial[op]
                self._prove(op, impl)
        self.save()

    def unprove(self, is_new: Callable[[str, str], bool]) -> None:
        """What a new file brings has not run here, whatever ran under its names before."""
        proven = self.record.proven
        for op, impls in proven.items():
            proven[op] = [impl for impl in impls if not is_new(op, impl)]
        self.save()

    def forget(self, ops: list[str]) -> list[dict[str, str]]:
        """Unpins `ops` and lifts what is barred of them; what was lifted."""
        lifted = [row for row in self.barred() if row["op"] in ops]
        for op in ops:
            for kept in (self.record.choice, self.record.trial, self.record.barred, self.record.leases):
                kept.pop(op, None)
        self.save()
        return lifted

    def bar(self, op: str, impl: str, beginning: str, reason: str) -> None:
        """From here on `use` refuses it. A bar whose reason begins otherwise stays, so that only a reset lifts it."""
        impls = self.record.barred.setdefault(op, {})
        if impls.get(impl, beginning).startswith(beginning):
            impls[impl] = (beginning + reason)[:MOST_REASON]
            self.save()

    def lift(self, op: str, impl: str, beginning: str) -> None:
        """Lifts a bar whose reason begins so; another one stays."""
        impls = self.record.barred.get(op, {})
        if impls.get(impl, "").startswith(beginning):
            del impls[impl]
            self.save()

    def barred(self) -> list[dict[str, str]]:
        """`Barred` of messages.json, each."""
        rows = [(op, impl, why) for op, impls in self.record.barred.items() for impl, why in impls.items()]
        return [{"op": op, "impl": impl, "reason": why} for op, impl, why in rows]

    def tell(self, kind: str, reason: str, **what: Any) -> None:
        """Something that the engine did by itself, for whoever asks later; `what` as Journal.add has it."""
        self.journal.add(kind, reason, time_ms=self._clock.wall_ms(), epoch=self.record.epoch, **what)
        self.save()

    async def kept(self) -> str:
        """Saves now; why that cannot be done, empty when it is."""
        try:
            await self._write()
        except OSError as error:
            self._unsaved = True
            self.counters["not_saved"] += 1
            return f"{self.file.path} cannot be written, so a restart will not know of it: {error.strerror}"
        return ""

    async def end(self, has_died: bool) -> None:
        """The engine ends. Where it did not die, what is on trial is tried again at the next start."""
        if not has_died and (self.record.trial or self.record.shadowed):
            self.record.trial, self.record.shadowed = {}, {}
            self.save()
        if self._saving is not None:
            await self._saving

    def _prove(self, op: str, impl: str) -> None:
        proven = self.record.proven.setdefault(op, [])
        if impl in proven:
            proven.remove(impl)
        proven.append(impl)
        del proven[:-MAX_PROVEN]

    def save(self) -> None:
        """Soon: nobody waits for the disk. What is lost by a death in between errs on the safe side, for what is on
        trial is on the disk already."""
        self._unsaved = True
        if self._saving is None or self._saving.done():
            self._saving = asyncio.create_task(self._save_all())

    async def _save_all(self) -> None:
        """What has happened has happened whatever the disk says, so a failure is counted, and told by doctor."""
        while self._unsaved:
            try:
                await self._write()
            except OSError as error:
                log.error("the choice was not saved: %s", error)
                self.counters["not_saved"] += 1

    async def _write(self) -> None:
        async with self._writing:
            self._unsaved = False
            await asyncio.to_thread(self.file.write, self._text())

    def _text(self) -> str:
        self.freezes.kept = self.freezes.lasting(self._clock.wall_ms())
        return text_of(Kept([self.record, *self.others], self.freezes.kept, self.journal))
