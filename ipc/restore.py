"""What an engine does with the choice of its last run: last known good; if that cannot be had, `framework`."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import Any

from .coordinator import Coordinator, ask
from .errors import IpcError
from .state import StateFile, UnreadableState

log = logging.getLogger("opswap.restore")
FRAMEWORK = "framework"


@dataclass(frozen=True)
class Restored:
    """How it went: outcome is none, restored, framework or failed; `choice` is what the ranks were switched to."""

    outcome: str = "none"
    message: str = "nothing was saved by an earlier run"
    choice: dict[str, str] = field(default_factory=dict)

    def report(self) -> dict[str, str]:
        """`Restored` of messages.json."""
        return {"outcome": self.outcome, "message": self.message}


async def restore(coordinator: Coordinator, state: StateFile, timeout: float) -> Restored:
    """Brings the ranks to the saved choice. Never raises for what it finds: an engine must start either way."""
    try:
        saved = state.load()
        if saved is None or not saved.choice:
            return Restored()
        # Epochs keep rising across restarts, so that an audit never sees one number twice.
        coordinator.epoch = saved.epoch
        await coordinator.use(saved.choice, timeout)
        return Restored("restored", f"the choice of epoch {saved.epoch} is active again", dict(saved.choice))
    except (UnreadableState, IpcError) as error:
        log.error("the last choice cannot be used: %s", error)
        return await _framework(coordinator, str(error), timeout)


async def _framework(coordinator: Coordinator, reason: str, timeout: float) -> Restored:
    try:
        choice = await _framework_choice(coordinator, timeout)
        if choice:
            await coordinator.use(choice, timeout)
    except IpcError as error:
        return Restored("failed", f"{reason}; going to {FRAMEWORK} failed too: {error.message}")
    ops = ", ".join(choice) or "no op, for none has one here"
    return Restored("framework", f"{reason}; the framework's own kernels are active for {ops}", choice)


async def _framework_choice(coordinator: Coordinator, timeout: float) -> dict[str, str]:
    """Every op whose framework kernel can run on every rank; the others keep what the library chose at load."""
    choice: dict[str, str] = {}
    for op in coordinator.op_versions:
        answers = await ask(coordinator.ranks, "why", timeout, op)
        if all(answer["ok"] and _offers(answer["impls"]) for answer in answers):
            choice[op] = FRAMEWORK
    return choice


def _offers(impls: list[dict[str, Any]]) -> bool:
    return any(impl["name"] == FRAMEWORK and impl["usable"] for impl in impls)
