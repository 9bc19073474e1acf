"""One rank's side of candidates: looks whether one could be registered here, and registers it.

Neither changes what a step runs: what is registered waits for a switch.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from . import candidate_files
from .candidate_files import Row, digest_of, load_candidate, same
from .errors import IpcError, code_of

Answer = dict[str, Any]
#: What a rank is asked of them.
CANDIDATES = ("register", "dispatch")


class Native(candidate_files.Native, Protocol):
    """What a rank needs of the package `opswap`."""

    def why(self, op: str) -> dict[str, Any]: ...
    def dispatch_ns(self, op: str) -> float: ...


class RankCandidates:
    """Of one process; `load` is load_candidate, or a stand-in."""

    def __init__(self, native: Native, rank: int, load: Callable[[Any, Row], None] = load_candidate) -> None:
        self._native = native
        self._load = load
        self.rank = rank
        self._registered: dict[str, str] = {}
        self._loading = threading.Lock()

    def register(self, row: Row, check_only: bool) -> Answer:
        """Whether this candidate could be registered here; where not `check_only`, it then is. A second time is fine
        for the same file, so that an engine whose ranks did not all follow can be asked again."""
        return self._answer(lambda: self._register(row, check_only))

    def dispatch(self, ops: list[str]) -> Answer:
        """What it costs at least to run a Python callable as an implementation of each op."""
        return self._answer(lambda: {"ns": {op: self._native.dispatch_ns(op) for op in ops}})

    def _register(self, row: Row, check_only: bool) -> Answer:
        """One at a time: one that hangs while it is loaded is not loaded again."""
        if not self._loading.acquire(blocking=False):
            raise IpcError("OPSWAP_E_BUSY", "register: a candidate is being loaded here, and has not come to its end")
        try:
            return self._loaded(row, check_only)
        finally:
            self._loading.release()

    def _loaded(self, row: Row, check_only: bool) -> Answer:
        key = f"{row.get('op', '')}@{row['name']}"
        if self._registered.get(key) == row["digest"]:
            return {}
        most = candidate_files.BUILD_BYTES if row["kind"] == "build" else candidate_files.PYTHON_BYTES
        same(row, digest_of(Path(row["path"]), most))
        if row["kind"] == "python" and row["name"] in [i["name"] for i in self._native.why(row["op"])["impls"]]:
            raise IpcError("OPSWAP_E_EXISTS", f"{row['op']}: an implementation named {row['name']!r} is there already")
        if not check_only:
            self._load(self._native, row)
            self._registered[key] = row["digest"]
        return {}

    def _answer(self, call: Callable[[], Answer]) -> Answer:
        try:
            return {"rank": self.rank, "ok": True, **call()}
        except Exception as error:  # an exception on one rank would hide the answers of the others
            return {
                "rank": self.rank,
                "ok": False,
                "code": code_of(error),
                "reason": getattr(error, "message", str(error)),
            }
