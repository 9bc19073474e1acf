"""What an engine keeps across its restarts, in one small file beside its socket: a record per model and build.

Atomic rename, and fsync of file and folder: a record that says that a candidate is about to run is on the disk before
it runs.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from .messages import SAFE_INT

SCHEMA = 2
MAX_BYTES = 1 << 20
#: Records of other models and builds that are kept, the newest first.
MAX_RECORDS = 8
Choice = dict[str, str]


@dataclass
class Record:
    """What one model on one build has lived through. Maps go from op to implementation.

    Attributes:
        model, build: what it is true of.
        epoch: of the last commit.
        choice: what was committed last.
        trial: of that, what has not proven itself; where an engine starts and finds some, it died under them.
        proven: what has run for long enough, the last proven one last.
        barred: the reason by implementation, of what an engine died under.
    """

    model: str
    build: str
    epoch: int = 0
    choice: Choice = field(default_factory=dict)
    trial: Choice = field(default_factory=dict)
    proven: dict[str, list[str]] = field(default_factory=dict)
    barred: dict[str, dict[str, str]] = field(default_factory=dict)

    def is_of(self, model: str, build: str) -> bool:
        return (self.model, self.build) == (model, build)


class UnreadableState(Exception):
    """The file is there, but what it says cannot be trusted."""


class StateFile:
    """Reads and replaces the file; a reader sees the old text or the new one, never half of either."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def load(self) -> list[Record]:
        """All records, the newest first; none when nothing ever was saved. Raises UnreadableState with the reason."""
        try:
            with self.path.open("rb") as file:
                text = file.read(MAX_BYTES + 1)
        except FileNotFoundError:
            return []
        except OSError as error:
            raise UnreadableState(f"{self.path}: {error.strerror}") from error
        if len(text) > MAX_BYTES:
            raise UnreadableState(f"{self.path}: has more than {MAX_BYTES} bytes")
        return self._parse(text)

    def save(self, records: Sequence[Record]) -> None:
        """Replaces the file by an atomic rename; raises OSError when that is not possible."""
        self.write(text_of(records))

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

    def _sync_folder(self) -> None:
        """Without it a rename may be lost with the machine."""
        folder = os.open(self.path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def _parse(self, text: bytes) -> list[Record]:
        try:
            value = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise UnreadableState(f"{self.path}: is not JSON: {error}") from error
        if not isinstance(value, dict) or value.get("schema") != SCHEMA or not isinstance(value.get("records"), list):
            raise UnreadableState(f"{self.path}: expected records of schema {SCHEMA}")
        records = [_record(found) for found in value["records"]]
        if None in records:
            raise UnreadableState(f"{self.path}: a record is not as schema {SCHEMA} has it")
        return [record for record in records if record]


def text_of(records: Sequence[Record]) -> str:
    """What the file holds of these records."""
    return json.dumps({"schema": SCHEMA, "records": [asdict(record) for record in records[:MAX_RECORDS]]})


def _record(value: Any) -> Record | None:
    if not isinstance(value, dict) or set(value) != {each.name for each in fields(Record)}:
        return None
    names = [value["model"], value["build"], *_texts(value["choice"]), *_texts(value["trial"])]
    lists = value["proven"].values() if isinstance(value["proven"], dict) else [None]
    reasons = value["barred"].values() if isinstance(value["barred"], dict) else [None]
    names += [name for each in lists for name in (each if isinstance(each, list) else [None])]
    names += [name for each in reasons for name in _texts(each)]
    if type(value["epoch"]) is not int or not 0 <= value["epoch"] < SAFE_INT:
        return None
    return Record(**value) if all(isinstance(name, str) for name in names) else None


def _texts(value: Any) -> list[Any]:
    """The values of a map; a value that is no text where there is no map."""
    return list(value.values()) if isinstance(value, dict) else [None]
