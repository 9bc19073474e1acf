"""What an engine keeps across its restarts, in one small file beside its socket: a record per model and build, freezes,
and the journal of what it did by itself.

Atomic rename, and fsync of file and folder: a record that says that a candidate is about to run is on the disk before
it runs.
"""

from __future__ import annotations

import contextlib
import glob
import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from .freezes import Freeze, read_freezes
from .journal import Journal, read_journal
from .leases import Lease, read_lease
from .messages import SAFE_INT
from .process import start_time

SCHEMA = 3
#: Schema 2 had records alone, without leases.
READABLE = (2, SCHEMA)
#: What a record may lack.
LATER: dict[str, Any] = {"leases": {}, "shadowed": {}}
MAX_BYTES = 4 << 20
#: Records of other models and builds that are kept, the newest first.
MAX_RECORDS = 8
#: Implementations that are barred in one record. Beyond them no candidate is tried: no bar is forgotten for a new one.
MAX_BARRED = 512
#: Of each op, those that have proven themselves; the oldest is forgotten, and is a candidate again.
MAX_PROVEN = 16
Choice = dict[str, str]
#: What the engine itself brings.
FRAMEWORK = "framework"


@dataclass
class Record:
    """What one model on one build has lived through. Maps go from op to implementation.

    Attributes:
        model, build: what it is true of.
        epoch: of the last commit.
        choice: what was committed last.
        trial: of that, what has not proven itself; where an engine starts and finds some, it died under them.
        shadowed: what runs beside live calls and has not proven itself; the same.
        proven: what has run for long enough, the last proven one last.
        barred: the reason by implementation, of what an engine died under.
        leases: of `choice`, what ends by itself.
    """

    model: str
    build: str
    epoch: int = 0
    choice: Choice = field(default_factory=dict)
    trial: Choice = field(default_factory=dict)
    proven: dict[str, list[str]] = field(default_factory=dict)
    barred: dict[str, dict[str, str]] = field(default_factory=dict)
    leases: dict[str, Lease] = field(default_factory=dict)
    shadowed: Choice = field(default_factory=dict)

    def is_of(self, model: str, build: str) -> bool:
        return (self.model, self.build) == (model, build)


@dataclass
class Kept:
    """All that the file holds; `records` are the newest first."""

    records: list[Record] = field(default_factory=list)
    freezes: list[Freeze] = field(default_factory=list)
    journal: Journal = field(default_factory=Journal)


class UnreadableState(Exception):
    """The file is there, but what it says cannot be trusted."""


class StateFile:
    """Reads and replaces the file; a reader sees the old text or the new one, never half of either."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def load(self) -> list[Record]:
        """The records alone."""
        return self.read().records

    def read(self) -> Kept:
        """All of it; nothing when nothing ever was saved. Raises UnreadableState with the reason."""
        try:
            with self.path.open("rb") as file:
                text = file.read(MAX_BYTES + 1)
        except FileNotFoundError:
            return Kept()
        except OSError as error:
            raise UnreadableState(f"{self.path}: {error.strerror}") from error
        if len(text) > MAX_BYTES:
            raise UnreadableState(f"{self.path}: has more than {MAX_BYTES} bytes")
        return self._parse(text)

    def save(self, records: Sequence[Record]) -> None:
        """Replaces the file by an atomic rename; raises OSError when that is not possible."""
        self.write(text_of(Kept(list(records))))

    def write(self, text: str) -> None:
        """`save` of what `text_of` gave, for another thread than the one that changes the records."""
        draft = self.path.with_name(f"{self.path.name}.{os.getpid()}.tmp")
        try:
            with draft.open("w", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            draft.replace(self.path)
            self._sync_folder()
        finally:
            draft.unlink(missing_ok=True)

    def sweep(self) -> None:
        """Removes drafts that killed processes left; one whose process lives may be about to take its place."""
        for draft in self.path.parent.glob(f"{glob.escape(self.path.name)}.*.tmp"):
            pid = draft.name[len(self.path.name) + 1 : -len(".tmp")]
            if pid.isdecimal() and int(pid) != os.getpid() and start_time(int(pid)) is None:
                with contextlib.suppress(OSError):  # it is in nobody's way
                    draft.unlink()

    def _sync_folder(self) -> None:
        """Without it a rename may be lost with the machine."""
        folder = os.open(self.path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def _parse(self, text: bytes) -> Kept:
        try:
            value = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise UnreadableState(f"{self.path}: is not JSON: {error}") from error
        if not isinstance(value, dict) or value.get("schema") not in READABLE:
            raise UnreadableState(f"{self.path}: expected records of schema {SCHEMA}")
        rows = value.get("records")
        records = [_record(row) for row in rows] if isinstance(rows, list) else [None]
        freezes = read_freezes(value.get("freezes", []))
        journal = read_journal(value["journal"]) if "journal" in value else Journal()
        if None in records or freezes is None or journal is None:
            what = "a record" if None in records else "a freeze" if freezes is None else "the journal"
            raise UnreadableState(f"{self.path}: {what} is not as schema {SCHEMA} has it")
        return Kept([record for record in records if record], freezes, journal)


def text_of(kept: Kept) -> str:
    """What the file holds of this."""
    records = [asdict(record) for record in kept.records[:MAX_RECORDS]]
    return json.dumps({"schema": SCHEMA, "records": records, "freezes": kept.freezes, "journal": asdict(kept.journal)})


def _record(value: Any) -> Record | None:
    if not isinstance(value, dict) or {**LATER, **value}.keys() != {each.name for each in fields(Record)}:
        return None
    value = {**LATER, **value}
    names = [value["model"], value["build"]]
    names += [name for each in ("choice", "trial", "shadowed") for name in _texts(value[each])]
    lists = value["proven"].values() if isinstance(value["proven"], dict) else [None]
    reasons = value["barred"].values() if isinstance(value["barred"], dict) else [None]
    names += [name for each in lists for name in (each if isinstance(each, list) else [None])]
    names += [name for each in reasons for name in _texts(each)]
    if type(value["epoch"]) is not int or not 0 <= value["epoch"] < SAFE_INT:
        return None
    leases = _leases(value["leases"])
    if leases is None or not all(isinstance(name, str) for name in names):
        return None
    return Record(**{**value, "leases": leases})


def _leases(value: Any) -> dict[str, Lease] | None:
    read = {op: read_lease(each) for op, each in value.items()} if isinstance(value, dict) else {"": None}
    leases = {op: lease for op, lease in read.items() if lease is not None}
    return leases if len(leases) == len(read) else None


def _texts(value: Any) -> list[Any]:
    """The values of a map; a value that is no text where there is no map."""
    return list(value.values()) if isinstance(value, dict) else [None]
