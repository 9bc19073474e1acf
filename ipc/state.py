"""The last committed choice of an engine, kept across its restarts in one small file beside its socket."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path

from .messages import SAFE_INT

SCHEMA = 1
MAX_BYTES = 1 << 20


@dataclass(frozen=True)
class SavedChoice:
    """What was committed last: implementation per op, and the epoch it was committed as."""

    epoch: int = 0
    choice: dict[str, str] = field(default_factory=dict)


class UnreadableState(Exception):
    """The file is there, but what it says cannot be trusted."""


class StateFile:
    """Reads and replaces the file; a reader sees the old text or the new one, never half of either."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def load(self) -> SavedChoice | None:
        """What was saved, or None when nothing ever was. Raises UnreadableState with the reason otherwise."""
        try:
            with self.path.open("rb") as file:
                text = file.read(MAX_BYTES + 1)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise UnreadableState(f"{self.path}: {error.strerror}") from error
        if len(text) > MAX_BYTES:
            raise UnreadableState(f"{self.path}: has more than {MAX_BYTES} bytes")
        return self._parse(text)

    def save(self, saved: SavedChoice) -> None:
        """Replaces the file by an atomic rename; raises OSError when that is not possible."""
        draft = self.path.with_name(f"{self.path.name}.{os.getpid()}.tmp")
        try:
            with draft.open("w", encoding="utf-8") as file:
                json.dump({"schema": SCHEMA, **asdict(saved)}, file)
                file.flush()
                os.fsync(file.fileno())
            draft.replace(self.path)
        finally:
            draft.unlink(missing_ok=True)

    def _parse(self, text: bytes) -> SavedChoice:
        try:
            value = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise UnreadableState(f"{self.path}: is not JSON: {error}") from error
        if not isinstance(value, dict) or value.get("schema") != SCHEMA:
            raise UnreadableState(f"{self.path}: expected schema {SCHEMA}")
        epoch, choice = value.get("epoch"), value.get("choice")
        if type(epoch) is not int or not 0 <= epoch < SAFE_INT or not isinstance(choice, dict):
            raise UnreadableState(f"{self.path}: expected an epoch and a choice")
        if not all(isinstance(impl, str) for impl in choice.values()):
            raise UnreadableState(f"{self.path}: expected an implementation name for every op")
        return SavedChoice(epoch, choice)
