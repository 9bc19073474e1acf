"""The candidates of one engine: what clients have registered from the folders that its configuration lists.

A file is looked at here, then by every rank, then loaded in a process of its own, and only then by the ranks. A
registration lasts as long as the engine.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .build_files import build_row
from .candidate_config import NAME, Configuration, configured, refused
from .candidate_files import PYTHON_BYTES
from .coordinator import Answers, all_answered, ask
from .errors import IpcError
from .plain_file import digest_of
from .state import FRAMEWORK

if TYPE_CHECKING:
    from .engine import Engine

Row = dict[str, Any]
Probe = Callable[[Row], Awaitable[None]]
REGISTER_TIMEOUT_S = 120.0


class Candidates:
    """`probe` is that of candidate_probe, or a stand-in."""

    def __init__(self, engine: Engine, probe: Probe) -> None:
        self._engine = engine
        self._probe = probe
        self._rows: list[Row] = []
        self._configuration: Configuration | IpcError | None = None
        self._registering = asyncio.Lock()

    def rows(self) -> list[Row]:
        """What is registered, as load_candidate takes it; `trouble` says why ranks have it not all."""
        return [dict(row) for row in self._rows]

    def row_of(self, op: str, impl: str) -> Row | None:
        """The registration that an implementation comes from; None for one of the library or the engine itself."""
        return next((dict(row) for row in self._rows if is_of(row, op, impl)), None)

    async def register(self, path: str, op: str | None, name: str | None, function: str | None) -> Row:
        """Has every rank load a file of a listed folder. Raises IpcError; where ranks have not all followed, the
        candidate stays listed with the reason, `use` refuses it, and registering it again tries those ranks again."""
        if self._registering.locked():
            raise IpcError("OPSWAP_E_BUSY", "register: another candidate is being registered")
        async with self._registering:
            row = await asyncio.to_thread(self._row, path, op, name, function)
            self._refuse_taken(row)
            all_answered(await self._ask(row, check_only=True))
            await self._probe(row)
            earlier = self._rows
            # Before a rank has it: from here on nothing of it runs without quarantine, whatever becomes of the answers.
            self._keep({**row, "trouble": "not every rank has answered"})
            self._engine.memory.unprove(partial(is_of, row))
            answers = await self._ask(row, check_only=False)
            if not any(answer["ok"] for answer in answers):
                self._rows = earlier
                all_answered(answers)
            return self._kept(row, answers)

    async def _ask(self, row: Row, check_only: bool) -> Answers:
        return await ask(self._engine.ranks, "register", REGISTER_TIMEOUT_S, row, check_only)

    def _configured(self) -> Configuration:
        """Read once: what the engine was started with holds until it ends."""
        if self._configuration is None:
            try:
                self._configuration = configured()
            except IpcError as error:
                self._configuration = error
        if isinstance(self._configuration, IpcError):
            raise IpcError(self._configuration.code, self._configuration.message)
        return self._configuration

    def _row(self, path: str, op: str | None, name: str | None, function: str | None) -> Row:
        configuration = self._configured()
        if not Path(path).is_absolute() or "\0" in path:
            raise refused(f"expected an absolute path; got {path!r}")
        real = Path(os.path.realpath(path))
        try:
            return self._row_at(real, op, name, function, configuration)
        except OSError as error:
            raise refused(f"{real}: {error.strerror}") from error

    def _row_at(
        self, real: Path, op: str | None, name: str | None, function: str | None, configuration: Configuration
    ) -> Row:
        folder = configuration.folder_of(real)
        if name is not None and not NAME.fullmatch(name):
            raise refused(f"expected a name of a letter and at most 31 of a-z, 0-9 and _; got {name!r}")
        if real.is_dir():
            if op is not None or function is not None:
                raise refused(f"{real} is a build, which names its own ops: leave op and function out")
            return build_row(real, name, configuration, self._engine.info.version, self._engine.coordinator.op_versions)
        if real == folder or not real.exists():
            raise refused(f"{real}: there is no such file")
        return self._python_row(real, op, name, function)

    def _python_row(self, path: Path, op: str | None, name: str | None, function: str | None) -> Row:
        if path.suffix != ".py":
            raise refused(f"{path}: expected a Python file, *.py, or the folder of a build")
        if op is None or name is None:
            raise refused(f"{path}: say which op it computes, and under which name it is to be listed")
        if name == FRAMEWORK:
            raise refused(f"{path}: {FRAMEWORK} is what the engine itself brings: give another name")
        self._engine.declared(op)
        row = {"kind": "python", "path": str(path), "op": op, "name": name, "digest": digest_of(path, PYTHON_BYTES)}
        return {**row, "function": function} if function else row

    def _refuse_taken(self, row: Row) -> None:
        for other in self._rows:
            if (other["kind"], other.get("op"), other["name"]) != (row["kind"], row.get("op"), row["name"]):
                continue
            if other.get("trouble") and other["digest"] == row["digest"]:
                continue
            what = f"{row['name']!r} is registered already, with sha256 {other['digest'][:16]}"
            raise IpcError("OPSWAP_E_EXISTS", f"{what}; a registration lasts as long as the engine")

    def _kept(self, row: Row, answers: Answers) -> Row:
        """Keeps the row, and raises IpcError where not all ranks have it."""
        refusals = [answer for answer in answers if not answer["ok"]]
        told = "; ".join(f"rank {answer['rank']}: {answer['reason']}" for answer in refusals)
        self._keep({**row, "trouble": told} if refusals else row)
        if refusals:
            ranks = [{key: answer[key] for key in ("rank", "code", "reason")} for answer in refusals]
            what = f"{len(refusals)} of {len(answers)} ranks did not register {row['name']}, so nothing can use it"
            raise IpcError("OPSWAP_E_REFUSED", f"{what}: {told}", "register it again when that is mended", ranks)
        return dict(row)

    def _keep(self, row: Row) -> None:
        key = ("kind", "op", "name", "digest")
        others = [other for other in self._rows if any(other.get(each) != row.get(each) for each in key)]
        self._rows = [*others, row]


def is_of(row: Row, op: str, impl: str) -> bool:
    """Whether an implementation comes from this registration; those of a build carry its name behind an @."""
    if row["kind"] == "python":
        return (row["op"], row["name"]) == (op, impl)
    return op in row["ops"] and impl.partition("@")[2] == row["name"]
