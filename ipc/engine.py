"""One engine as its agent knows it: who it is, its ranks, what they were switched to, and what is remembered of it."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .coordinator import Coordinator, Outcome, RankGroup, all_answered, ask
from .errors import IpcError, nearest
from .restore import Restored, restore
from .state import SavedChoice, StateFile

log = logging.getLogger("opswap.engine")
ASK_TIMEOUT_S = 8.0
USE_TIMEOUT_S = 30.0
Check = dict[str, str]


async def _no_checks() -> list[Check]:
    return []


@dataclass(frozen=True)
class AgentInfo:
    """What the adapter knows and the agent reports.

    `version` is opswap.version(), `manifest` is opswap.manifest(), both of this process; `framework` has name, version
    and model; `doctor` adds checks of the adapter's own ({name, state: ok|warn|fail, message, remedy}).
    """

    version: dict[str, Any]
    manifest: dict[str, Any]
    framework: dict[str, str]
    doctor: Callable[[], Awaitable[list[Check]]] = _no_checks


class Engine:
    """What the agent's verbs work on. `counters` and `started` are those of its server."""

    def __init__(self, name: str, ranks: RankGroup, info: AgentInfo, counters: Counter[str], started: int) -> None:
        self.name = name
        self.ranks = ranks
        self.info = info
        self.counters = counters
        self.started = started
        self.choice: dict[str, str] = {}
        self.restored = Restored()
        self.switching = asyncio.Lock()
        versions = {op["op"]: op["version"] for op in info.manifest["ops"]}
        self.coordinator = Coordinator(ranks, info.version["build_digest"], versions)

    async def restore(self, file: Path) -> None:
        """Brings the ranks to the choice that `file` holds, and remembers later choices there."""
        self.state = StateFile(file)
        async with self.switching:
            self.restored = await restore(self.coordinator, self.state, USE_TIMEOUT_S)
            self.choice = dict(self.restored.choice)

    async def ask(self, method: str, *args: Any) -> list[dict[str, Any]]:
        """One answer per rank; raises IpcError, with the code and reason of the first rank that refuses."""
        return all_answered(await ask(self.ranks, method, ASK_TIMEOUT_S, *args))

    async def use(self, changes: dict[str, str], timeout: float) -> Outcome:
        """Switches all ranks; raises IpcError, BUSY when another switch is under way."""
        if self.switching.locked():
            raise IpcError("OPSWAP_E_BUSY", "use: another switch is under way")
        async with self.switching:
            self.counters["switches"] += 1
            outcome = await self.coordinator.use(changes, timeout)
            self.choice.update(changes)
            self._remember()
        log.info("epoch %d at step %d: %s", outcome.epoch, outcome.step, changes)
        return outcome

    def declared(self, op: str) -> None:
        """Raises IpcError NO_OP, with the nearest name, when there is no such op."""
        if op not in self.coordinator.op_versions:
            raise IpcError("OPSWAP_E_NO_OP", f"no op named {op!r}{nearest(op, list(self.coordinator.op_versions))}")

    def _remember(self) -> None:
        """The switch has happened whatever the disk says, so a failure to save is counted, and told by doctor."""
        try:
            self.state.save(SavedChoice(self.coordinator.epoch, self.choice))
        except OSError as error:
            log.error("the choice was not saved: %s", error)
            self.counters["not_saved"] += 1
