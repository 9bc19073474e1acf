"""A switch on every rank at one step, or on none.

    prepare on all -- all ok --> commit on all -- acks agree --> done
          |                            |
   a refusal or silence          acks missing or different
          v                            v
     abort on all              say so, switch all back

Prepare is answered while a step runs; commit takes effect between two steps. The answers to prepare tell each rank's
status, so a rank that knows a higher epoch (the agent is younger than the ranks) costs one more prepare; and what every
rank runs already is no switch. An epoch that every rank has forgotten is used again.

The acknowledgements must name the same ranks, one epoch and one step: anything else means that some step may have run
with two choices, and is reported as a divergence even after the ranks have been brought back together.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from .errors import IpcError

log = logging.getLogger("opswap.coordinator")
Answers = list[dict[str, Any]]
#: Of what is told of ranks that differ, however often they came apart.
MOST_TEXT = 4000
#: Takes what runs until now, implementation per op, and may refuse the switch by an IpcError.
Ready = Callable[[dict[str, str]], Awaitable[None]]


async def _ready(_previous: dict[str, str]) -> None:
    """Where nothing has to be done before a commit."""


class RankGroup(Protocol):
    """All ranks of one engine world, reached in order: what is called first runs first, on every rank."""

    async def start(self, engine: str, counters: Counter[str]) -> None:
        """Called once, when the agent has the engine's name and before the first call. `counters` are the agent's."""
        ...

    async def call(self, method: str, *args: Any) -> Answers:
        """Runs a method of RankSwitch on every rank; one answer per rank. Raises when a rank cannot be reached."""
        ...

    async def commit(self, epoch: int, neutral: str | None) -> Answers:
        """RankSwitch's commit on every rank at one step boundary, and the isolation of cached KV with it, unless
        `neutral` says why the switch does not change what is cached."""
        ...

    @property
    def isolation(self) -> dict[str, Any] | None:
        """`Isolation` of messages.json, of the last commit; None before the first."""
        ...

    @property
    def silent(self) -> list[int]:
        """Ranks that had not answered when the last call was given up; empty where that is not known."""
        ...

    async def stop(self) -> None:
        """Called once, after the last call."""
        ...


@dataclass(frozen=True)
class Outcome:
    """A committed switch, as the verb `use` reports it; without `acks` where every rank ran all of it already."""

    epoch: int
    step: int
    acks: Answers
    isolation: dict[str, Any] | None = None

    def report(self) -> dict[str, Any]:
        """Its part of the results of `use`, `reset` and `panic`."""
        return {"epoch": self.epoch, "step": self.step, "acks": self.acks, "isolation": self.isolation}


class Diverged(Exception):
    """The acknowledgements of a commit do not show that all ranks switched together; `args[0]` says what is known."""


class Coordinator:
    """Drives the ranks; its caller sees to it that one switch runs at a time."""

    def __init__(
        self, ranks: RankGroup, build_digest: str, op_versions: Mapping[str, int], plans: str | None = None
    ) -> None:
        self.ranks = ranks
        self.build_digest = build_digest
        self.plans = plans
        self.op_versions = dict(op_versions)
        self.epoch = 0
        # An epoch that a rank might still hold, or that one has seen, is not given out.
        self._taken = 0
        self.divergence: str | None = None
        #: Ops of which ranks may run different implementations, until all have confirmed a switch of them.
        self._apart: set[str] = set()

    async def use(
        self,
        changes: Mapping[str, str],
        timeout: float,
        neutral: str | None = None,
        ready: Ready = _ready,
    ) -> Outcome:
        """Makes `changes` (op to implementation) active everywhere; each phase may take `timeout` seconds.

        What every rank runs already is no switch: no epoch is used, and no step waits. `neutral` is the reason why
        cached KV may be kept. `ready` is called before the commit with what the lowest rank runs, and may refuse.

        Raises IpcError: REFUSED or the rank's own code, TIMEOUT, DIVERGED. Only the last may leave the ranks apart,
        and then `divergence` says so until every rank has confirmed later switches of all these ops.
        """
        epoch, answers = await self._prepare(changes, timeout)
        previous = {answer["rank"]: answer["previous"] for answer in answers}
        if self.divergence is None and all(before == changes for before in previous.values()):
            await self._forget(epoch, timeout)
            return Outcome(self.epoch, max(answer["status"]["step"] for answer in answers), [])
        try:
            await ready(previous[min(previous)])
        except IpcError:
            await self._forget(epoch, timeout)
            raise
        try:
            outcome = await self._commit(epoch, set(previous), timeout, neutral)
        except Diverged as diverged:
            self._apart |= set(changes)
            raise await self._take_back(str(diverged), previous, timeout) from diverged
        self._confirmed(epoch, changes)
        return outcome

    def is_apart(self, ops: Iterable[str]) -> bool:
        """Whether ranks may run different implementations of one of `ops`."""
        return not self._apart.isdisjoint(ops)

    def _confirmed(self, epoch: int, ops: Iterable[str]) -> None:
        """Every rank runs the same of `ops` now."""
        self.epoch = epoch
        self._apart.difference_update(ops)
        if not self._apart:
            self.divergence = None

    async def _prepare(self, changes: Mapping[str, str], timeout: float) -> tuple[int, Answers]:
        """The epoch under which all ranks have agreed to switch, and their answers, which tell what each runs now."""
        epoch, answers = await self._try_prepare(changes, timeout)
        if any(answer.get("code") == "OPSWAP_E_EPOCH" for answer in answers):
            epoch, answers = await self._try_prepare(changes, timeout)
        refusals = [answer for answer in answers if not answer["ok"]]
        if refusals:
            await self._forget(epoch, timeout)
            raise _refused(refusals, len(answers))
        return epoch, answers

    async def _try_prepare(self, changes: Mapping[str, str], timeout: float) -> tuple[int, Answers]:
        """Asks all ranks under a new epoch, and learns which epochs they have seen."""
        epoch = 1 + max(self.epoch, self._taken)
        try:
            asked = (epoch, dict(changes), self.build_digest, self.op_versions, self.plans)
            answers = await self._ask("prepare", timeout, *asked)
        except IpcError:
            self._taken = epoch  # a rank may come to it late
            await self._forget(epoch, timeout)
            raise
        self._taken = max([self._taken, *map(_highest_seen, answers)])
        return epoch, answers

    async def _commit(self, epoch: int, ranks: set[int], timeout: float, neutral: str | None = None) -> Outcome:
        self._taken = epoch
        try:
            acks = await answered("commit", self.ranks.commit(epoch, neutral), timeout)
        except IpcError as error:
            raise Diverged(f"commit of epoch {epoch}: {error.message}") from error
        if {ack["rank"] for ack in acks} == ranks and not any(ack["ok"] for ack in acks):
            await self._forget(epoch, timeout)
            raise _refused(acks, len(acks))
        complaint = _disagreement(acks, epoch, ranks)
        if complaint:
            raise Diverged(f"commit of epoch {epoch}: {complaint}")
        return Outcome(epoch, acks[0]["step"], acks, self.ranks.isolation)

    async def _take_back(self, what: str, previous: dict[int, dict[str, str]], timeout: float) -> IpcError:
        """Switches every rank to what the lowest rank ran before, and returns the error that tells the whole story."""
        log.error("ranks diverged: %s", what)
        self.divergence = what if self.divergence is None else f"{self.divergence}; then {what}"
        before = previous[min(previous)]
        try:
            epoch, answers = await self._prepare(before, timeout)
            outcome = await self._commit(epoch, {answer["rank"] for answer in answers}, timeout)
        except (IpcError, Diverged) as failure:
            self.divergence = f"{self.divergence}; switching back failed too: {failure}"[:MOST_TEXT]
            log.error("%s", self.divergence)
            return IpcError("OPSWAP_E_DIVERGED", self.divergence)
        self._confirmed(epoch, before)
        told = ", ".join(f"{op} to {impl}" for op, impl in before.items())
        return IpcError(
            "OPSWAP_E_DIVERGED",
            f"{what}; all ranks were switched back ({told}) at step {outcome.step}, epoch {epoch}",
            "steps in between may have mixed implementations: repeat what they computed, and report this",
        )

    async def _forget(self, epoch: int, timeout: float) -> None:
        """Aborts on all. A rank that misses it stays on its old choice, and drops the epoch at the next prepare."""
        try:
            await self._ask("abort", timeout, epoch)
        except IpcError as error:
            self._taken = max(self._taken, epoch)
            log.warning("abort of epoch %d: %s", epoch, error.message)

    async def _ask(self, method: str, timeout: float, *args: Any) -> Answers:
        return await ask(self.ranks, method, timeout, *args)


async def ask(ranks: RankGroup, method: str, timeout: float, *args: Any) -> Answers:
    """One answer per rank in order of rank, or an IpcError, as `answered` says; a time-out names the ranks."""
    try:
        return await answered(method, ranks.call(method, *args), timeout)
    except IpcError as error:
        if error.code != "OPSWAP_E_TIMEOUT" or not ranks.silent:
            raise
        who = ", ".join(map(str, ranks.silent))
        raise IpcError(error.code, f"{error.message}: no answer of rank {who}") from error


async def answered(method: str, call: Awaitable[Answers], timeout: float) -> Answers:
    """The answers to a call in order of rank, or an IpcError: TIMEOUT, or UNEXPECTED when the call itself failed."""
    try:
        answers = await asyncio.wait_for(call, timeout)
    except asyncio.TimeoutError:
        raise IpcError("OPSWAP_E_TIMEOUT", f"{method}: not every rank answered in {timeout:g} s") from None
    except Exception as error:
        raise IpcError("OPSWAP_E_UNEXPECTED", f"{method}: the ranks cannot be reached: {error}") from error
    if not answers:
        raise IpcError("OPSWAP_E_UNEXPECTED", f"{method}: no rank answered")
    return sorted(answers, key=_rank)


def all_answered(answers: Answers) -> Answers:
    """The answers, or the first refusal among them as an IpcError: it has no other fields to read."""
    for answer in answers:
        if not answer["ok"]:
            raise IpcError(answer["code"], answer["reason"])
    return answers


def _rank(answer: dict[str, Any]) -> int:
    return int(answer["rank"])


def _highest_seen(answer: dict[str, Any]) -> int:
    """The highest epoch that a rank has committed or holds of others; 0 where its answer tells no status. What it holds
    after it agreed is the epoch that it was asked for."""
    status = answer.get("status") or {"epoch": 0, "prepared": None}
    return max(int(status["epoch"]), 0 if answer["ok"] else int(status["prepared"] or 0))


def _disagreement(acks: Answers, epoch: int, ranks: set[int]) -> str:
    """Why these acknowledgements do not prove that every rank switched at one step; empty when they do."""
    refusals = [f"rank {ack['rank']} refused: {ack['reason']}" for ack in acks if not ack["ok"]]
    if refusals:
        return "; ".join(refusals)
    answered = {ack["rank"] for ack in acks}
    if answered != ranks or len(acks) != len(ranks):
        return f"expected one ack of each of the ranks {sorted(ranks)}; got {[ack['rank'] for ack in acks]}"
    for key, expected in (("epoch", {epoch}), ("step", {acks[0]["step"]})):
        if {ack[key] for ack in acks} != expected:
            told = ", ".join(f"rank {ack['rank']}: {ack[key]}" for ack in acks)
            return f"ranks applied it at different {key}s ({told})"
    return ""


def _refused(refusals: Answers, total: int) -> IpcError:
    """One error for all refusals; a code that all of them share is kept, since its remedy is the better one."""
    codes = {refusal["code"] for refusal in refusals}
    code = codes.pop() if len(codes) == 1 and len(refusals) == total else "OPSWAP_E_REFUSED"
    reasons = {refusal["reason"] for refusal in refusals}
    told = reasons.pop() if len(reasons) == 1 else "; ".join(f"rank {r['rank']}: {r['reason']}" for r in refusals)
    who = "" if len(refusals) == total else f"{len(refusals)} of {total} ranks refused, nothing changed: "
    ranks = [{"rank": r["rank"], "code": r["code"], "reason": r["reason"]} for r in refusals]
    return IpcError(code, who + told, ranks=ranks)
