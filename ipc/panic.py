"""`panic`: each op to the framework's own kernel, or else to what is known to run well; all else ends.

It asks nobody's leave and waits for no disk: freezes are not looked at, and what cannot be kept is told.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from .coordinator import Outcome
from .errors import IpcError
from .overrides import AGAIN
from .state import FRAMEWORK, Choice, Record

log = logging.getLogger("opswap.panic")
Why = dict[str, Any]
Switch = Callable[[Choice], Awaitable[Outcome]]
#: The next goal of an op, when some were refused.
Another = Callable[[str, frozenset[str]], "Goal"]


@dataclass(frozen=True)
class Goal:
    """What becomes of an op: `before` is what its ranks run, `to` what they are to; `stays` where it has to stay."""

    op: str
    before: str
    to: str
    why: str
    stays: bool = False

    def report(self) -> dict[str, str]:
        """`PanicOp` of messages.json."""
        return {"op": self.op, "from": self.before, "to": self.to, "why": self.why}


@dataclass
class Done:
    """What came of it; `outcome` is the last switch."""

    goals: list[Goal]
    outcome: Outcome
    trouble: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)

    def report(self) -> dict[str, Any]:
        """Its part of the result of `panic`."""
        told = self.outcome.report()
        told |= {"refused": self.refused, "trouble": self.trouble}
        return {**told, "ops": [goal.report() for goal in self.goals]}


def goal_of(op: str, ranks: list[Why], record: Record, at_load: Choice, refused: frozenset[str] = frozenset()) -> Goal:
    """`ranks` are the answers to `why`. No goal: what cannot run on every rank, is barred, on trial, or was refused."""
    usable = set.intersection(*(_usable(rank) for rank in ranks)) - set(record.barred.get(op, {})) - refused
    active = list(dict.fromkeys(rank["active"] for rank in ranks))
    before, loaded = " and ".join(active), at_load.get(op, active[0])
    if FRAMEWORK in usable:
        return Goal(op, before, FRAMEWORK, "the framework's own")
    if active == [loaded]:
        return Goal(op, before, loaded, "chosen at load already, and the framework's own cannot run")
    others = set(active) | {record.trial.get(op)}
    for name in reversed(record.proven.get(op, [])):
        if name in usable - others:
            return Goal(op, before, name, "last known good, for the framework's own cannot run")
    if loaded in usable:
        return Goal(op, before, loaded, "chosen at load, for nothing else is known to run well")
    return Goal(op, before, active[0], "it stays, for nothing else can run", stays=True)


def _usable(rank: Why) -> set[str]:
    rows = rank["impls"]
    return {impl["name"] for impl in rows if impl["usable"] and impl.get("toggle_class") != "restart"}


async def carry_out(goals: list[Goal], differ: bool, switch: Switch, still: Outcome, another: Another) -> Done:
    """One switch for all; where a rank refuses it, one for each op, so that one op does not keep the others; then
    `another` goal is tried where a rank refused one.

    `differ`: ranks may run different choices, so that all is switched. Raises IpcError when a rank does not answer.
    """
    changes = {goal.op: goal.to for goal in goals if differ or goal.before != goal.to}
    if not changes:
        return Done(goals, still)
    try:
        return Done(goals, await switch(changes))
    except IpcError as error:
        if error.code in AGAIN:
            raise
        log.warning("panic goes on op by op: %s", error.message)
    done = Done([], still)
    for goal in goals:
        await _one(goal, goal.op in changes, switch, another, done)
    return done


async def _one(goal: Goal, is_new: bool, switch: Switch, another: Another, done: Done) -> None:
    refused: dict[str, str] = {}
    while is_new:
        try:
            done.outcome = await switch({goal.op: goal.to})
            break
        except IpcError as error:
            if error.code in AGAIN:
                raise
            refused[goal.to] = error.message
        goal = another(goal.op, frozenset(refused))
        if goal.to == goal.before or goal.to in refused:
            why = "; ".join(refused.values())
            done.refused.append(goal.op)
            done.trouble.append(f"{goal.op} still runs {goal.before}: {why}")
            goal = Goal(goal.op, goal.before, goal.before, f"it stays: {why}", stays=True)
            break
    done.goals.append(goal)


def behind(ranks: list[dict[str, Any]]) -> str:
    """Which ranks have not come as far as the others, from their answers to `status`."""
    newest = max(rank["epoch"] for rank in ranks)
    told = [f"rank {rank['rank']} is at epoch {rank['epoch']}" for rank in ranks if rank["epoch"] < newest]
    return f"{', '.join(told)}, others at {newest}" if told else f"every rank is at epoch {newest}"


async def asked_of_all(ask: Callable[[str], Awaitable[list[Why]]], ops: Mapping[str, Any]) -> dict[str, list[Why]]:
    """The answers to `why` of each op; all are asked at once."""
    return dict(zip(ops, await asyncio.gather(*map(ask, ops)), strict=True))
