"""One rank's side of shadows and recordings: starts, stops and reads what the library does behind chosen calls.

Nothing here changes what a step runs, so it may be asked on another thread while the model runs. Activations are the
users' data: they are recorded only where the engine's own environment names the folder for them.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

from .errors import code_of

Answer = dict[str, Any]
#: Names the folder for recordings; where it is not set, none are made.
RECORDINGS = "OPSWAP_RECORDINGS"


#: What a rank is asked of them.
WATCH = (
    *("shadow_start", "shadow_stop", "shadow_status", "shadow_read"),
    *("record_start", "record_stop", "record_status", "watch_stop"),
)


class Native(Protocol):
    """What the package `opswap` does."""

    def shadow_start(self, op: str, control: str, candidate: str, **how: Any) -> None: ...
    def shadow_stop(self, op: str) -> None: ...
    def shadow_status(self, op: str) -> dict[str, Any]: ...
    def shadow_read(self, op: str, after: int, most: int) -> list[dict[str, Any]]: ...
    def record_start(self, op: str, folder: Path, **how: Any) -> None: ...
    def record_stop(self, op: str) -> None: ...
    def record_status(self, op: str) -> dict[str, Any]: ...


class RankWatch:
    """What a rank answers about them. A refusal is an answer, as those of RankSwitch are."""

    def __init__(self, native: Native, rank: int, environment: Mapping[str, str] = os.environ) -> None:
        self.native = native
        self.rank = rank
        self._environment = environment

    def shadow_start(self, op: str, control: str, candidate: str, how: dict[str, Any]) -> Answer:
        return self._started(lambda: self.native.shadow_start(op, control, candidate, **how), self.shadow_status, op)

    def shadow_stop(self, op: str, salt: int | None = None) -> Answer:
        """The one of this salt; any where none is named."""
        return self._stopped(self.native.shadow_stop, self.shadow_status, op, salt)

    def shadow_status(self, op: str) -> Answer:
        return self._answer(lambda: self.native.shadow_status(op))

    def shadow_read(self, op: str, after: list[int], most: int) -> Answer:
        """`after` is by rank; ranks beyond its end are read from their first record."""
        seen = after[self.rank] if self.rank < len(after) else 0
        return self._answer(lambda: {"records": [_sendable(r) for r in self.native.shadow_read(op, seen, most)]})

    def record_start(self, op: str, how: dict[str, Any]) -> Answer:
        named = self._environment.get(RECORDINGS)
        if not named:
            reason = f"this engine keeps no activations; start it with {RECORDINGS}=FOLDER to have some recorded"
            return {"rank": self.rank, "ok": False, "code": "OPSWAP_E_UNUSABLE", "reason": reason}
        folder = Path(named)
        return self._started(lambda: self.native.record_start(op, _made(folder), **how), self.record_status, op)

    def record_stop(self, op: str, salt: int | None = None) -> Answer:
        return self._stopped(self.native.record_stop, self.record_status, op, salt)

    def record_status(self, op: str) -> Answer:
        return self._answer(lambda: self.native.record_status(op))

    def watch_stop(self, ops: list[str]) -> Answer:
        """Ends all of `ops`, and tells of which there was a shadow or a recording."""
        native = self.native

        def stop() -> Answer:
            shadows = self._stop_each(ops, native.shadow_status, native.shadow_stop)
            return {"shadows": shadows, "recordings": self._stop_each(ops, native.record_status, native.record_stop)}

        return self._answer(stop)

    def _stop_each(
        self, ops: list[str], status: Callable[[str], dict[str, Any]], stop: Callable[[str], None]
    ) -> list[str]:
        running = [op for op in ops if self._runs(op, status)]
        for op in running:
            stop(op)
        return running

    def _runs(self, op: str, status: Callable[[str], dict[str, Any]]) -> bool:
        try:
            return bool(status(op)["running"])
        except Exception as error:
            if code_of(error) == "OPSWAP_E_ARGUMENT":  # none was ever started
                return False
            raise

    def _started(self, change: Callable[[], None], status: Callable[[str], Answer], op: str) -> Answer:
        """What is there after a change, or why it was refused."""
        refused = self._answer(lambda: change() or {})
        return status(op) if refused["ok"] else refused

    def _stopped(
        self, stop: Callable[[str], None], status: Callable[[str], Answer], op: str, salt: int | None
    ) -> Answer:
        """Another one than that of `salt` goes on, and is what the answer tells of."""
        there = status(op)
        if not there["ok"] or (salt is not None and there["salt"] != salt):
            return there
        return self._started(lambda: stop(op), status, op)

    def _answer(self, call: Callable[[], dict[str, Any]]) -> Answer:
        try:
            return {"rank": self.rank, "ok": True, **call()}
        except Exception as error:  # an exception on one rank would hide the answers of the others
            return {"rank": self.rank, "ok": False, "code": code_of(error), "reason": str(error)}


def _made(folder: Path) -> Path:
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder


def _sendable(record: dict[str, Any]) -> dict[str, Any]:
    """Where the tolerance allows nothing a difference over it is infinite, which JSON has no number for; and the last
    digits of a time in nanoseconds are beyond what JavaScript's numbers hold."""
    told = {k: min(v, sys.float_info.max) if isinstance(v, float) else v for k, v in record.items()}
    told["time_us"] = told.pop("time_ns") // 1000
    return told
