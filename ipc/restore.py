"""What an engine does with the choice of its last run: last known good; if that cannot be had, `framework`."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from .coordinator import Coordinator, all_answered, ask
from .errors import IpcError
from .memory import Memory
from .overrides import Overrides
from .state import FRAMEWORK, UnreadableState

log = logging.getLogger("opswap.restore")
Use = Callable[[dict[str, str]], Awaitable[object]]


@dataclass(frozen=True)
class Restored:
    """How it went; the outcomes are those of messages.json."""

    outcome: str = "none"
    message: str = "nothing was saved by an earlier run"

    def report(self) -> dict[str, str]:
        """`Restored` of messages.json."""
        return {"outcome": self.outcome, "message": self.message}


async def restore(memory: Memory, overrides: Overrides, coordinator: Coordinator, use: Use, timeout: float) -> Restored:
    """Brings the ranks to what is remembered. Never raises for what it finds: an engine must start either way."""
    restored = await _restore(memory, overrides, coordinator, use, timeout)
    if restored.outcome not in ("none", "restored"):
        memory.tell(f"started-{restored.outcome}", restored.message, after=memory.record.choice)
    return restored


async def _restore(
    memory: Memory, overrides: Overrides, coordinator: Coordinator, use: Use, timeout: float
) -> Restored:
    try:
        refused = memory.load()
        coordinator.epoch = epoch = memory.record.epoch
        died = memory.bar_what_it_died_under()
        overrides.take_up()
        gone = memory.leave_barred() | await _gone(memory, coordinator, timeout)
        choice = dict(memory.record.choice)
        if choice:
            await use(choice)
    except (UnreadableState, IpcError) as error:
        log.error("the last choice cannot be used: %s", error)
        told = await _framework(memory, coordinator, use, str(error), timeout)
        overrides.take_up()
        return told
    if gone and not refused:
        refused = f"the choice of the last run is refused: {', '.join(gone.values())}"
    return _told(refused, died, choice, epoch)


async def _gone(memory: Memory, coordinator: Coordinator, timeout: float) -> dict[str, str]:
    """What was chosen and is on some rank no more, in words by op; what is there is chosen in its place."""
    gone = {}
    for op, impl in list(memory.record.choice.items()):
        answers = all_answered(await ask(coordinator.ranks, "why", timeout, op))
        there = set.intersection(*({entry["name"] for entry in answer["impls"]} for answer in answers))
        if impl not in there:
            gone[op] = f"{op}={impl} is not there any more, as candidates are until registered"
            memory.fall_back(op, there)
    return gone


def _told(refused: str, died: dict[str, str], choice: dict[str, str], epoch: int) -> Restored:
    now = ", ".join(f"{op}={impl}" for op, impl in choice.items())
    instead = f"last known good is active: {now}" if now else "what the library chose at load is active"
    if died:
        under = ", ".join(f"{op}={impl}" for op, impl in died.items())
        told = Restored("barred", f"the engine died under {under}, which is barred now; {instead}")
    elif refused:
        told = Restored("refused", f"{refused}; {instead}")
    elif choice:
        return Restored("restored", f"the choice of epoch {epoch} is active again")
    else:
        return Restored()
    log.warning("%s", told.message)
    return told


async def _framework(memory: Memory, coordinator: Coordinator, use: Use, reason: str, timeout: float) -> Restored:
    try:
        choice = await _framework_choice(coordinator, timeout)
        if choice:
            await use(choice)
    except IpcError as error:
        return Restored("failed", f"{reason}; going to {FRAMEWORK} failed too: {error.message}")
    memory.choose_only(choice)
    ops = ", ".join(choice) or "no op, for none has one here"
    return Restored("framework", f"{reason}; the framework's own kernels are active for {ops}")


async def _framework_choice(coordinator: Coordinator, timeout: float) -> dict[str, str]:
    """Every op whose framework kernel can run on every rank; the others keep what the library chose at load."""
    choice: dict[str, str] = {}
    for op in coordinator.op_versions:
        answers = await ask(coordinator.ranks, "why", timeout, op)
        if all(answer["ok"] and _offers(answer["impls"]) for answer in answers):
            choice[op] = FRAMEWORK
    return choice


def _offers(impls: list[dict[str, object]]) -> bool:
    return any(impl["name"] == FRAMEWORK and impl["usable"] for impl in impls)
