"""Which versions of an engine opswap works with, and how that is known: `compat.json` of the engine's folder.

One row a version: `tested` was run, `expected` was read and has not been run, `broken` is known not to work. A version
without a row was never looked at. The documentation's table and the command line's are made from the same files.
"""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

FILE = "compat.json"
STATUSES = ("tested", "expected", "broken")
HOW = ("ran", "read")
MOST_BYTES = 1 << 20
#: By this a user has an engine start with a version that opswap would refuse: PACKAGE==VERSION, several with commas.
ACCEPT_ENV = "OPSWAP_ACCEPT_VERSION"


class CompatError(ValueError):
    """A compat.json that is not as it should be; the text says where."""


@dataclass(frozen=True)
class Evidence:
    """How something is known: `how` it was found, what was done and found, and where that can be looked at again."""

    how: str
    what: str
    where: str


@dataclass(frozen=True)
class Row:
    """One version. `release` is the one that its packages call themselves, where that is not `version`."""

    version: str
    status: str
    evidence: tuple[Evidence, ...]
    broken: tuple[str, ...] = ()
    remedy: str = ""
    release: str = ""

    def fits(self, version: str) -> bool:
        """Whether a package of this version is meant: 0.33.0 means 0.33.0.post1 and 0.33.0+cpu too, 1.2 means 1.2.1."""
        own, theirs = version_key(self.release or self.version), version_key(version)
        return bool(own and theirs) and (*theirs, *[0] * len(own))[: len(own)] == own

    def told(self) -> str:
        """How it is known, in words."""
        return "; ".join(f"{each.how}: {each.what} ({each.where})" for each in self.evidence)


@dataclass(frozen=True)
class Compat:
    """The file of one engine; rows newest first."""

    engine: str
    package: str
    rows: tuple[Row, ...]

    def row(self, version: str) -> Row | None:
        """What is known of a version; the row that says most exactly which."""
        fitting = [row for row in self.rows if row.fits(version)]
        return max(fitting, key=lambda row: len(version_key(row.release or row.version)), default=None)

    def versions(self, status: str) -> list[str]:
        return [row.version for row in self.rows if row.status == status]

    @property
    def best(self) -> str:
        """The version to install: the newest that was tested, else that is expected to work."""
        rows = sorted(self.rows, key=lambda row: row.status != "tested")
        return next((row.release or row.version for row in rows if row.status != "broken"), "")


@cache
def read(path: Path) -> Compat:
    """Raises CompatError where the file is not there or not sound."""
    try:
        if path.stat().st_size > MOST_BYTES:
            raise CompatError(f"{path} has more than {MOST_BYTES} bytes")
        data = json.loads(path.read_text("utf-8"))
        return Compat(_text(data, "engine"), _text(data, "package"), tuple(map(_row, data["rows"])))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CompatError(f"{path} cannot be read: {type(error).__name__}: {error}") from None


def _row(data: dict[str, Any]) -> Row:
    if unknown := set(data) - set(Row.__dataclass_fields__):
        raise CompatError(f"a row has no field {', '.join(sorted(unknown))}")
    row = Row(
        _text(data, "version"),
        _one_of(STATUSES, _text(data, "status")),
        tuple(_evidence(each) for each in data["evidence"]),
        tuple(data.get("broken", ())),
        data.get("remedy", ""),
        data.get("release", ""),
    )
    needed = {"tested": "ran", "expected": "read"}.get(row.status)
    if not row.evidence or (needed and needed not in {each.how for each in row.evidence}):
        raise CompatError(f"{row.version} is {row.status} without evidence of what was {needed or 'found'}")
    if (row.status == "broken") != bool(row.broken and row.remedy):
        raise CompatError(f"{row.version}: a broken version, and no other, says what is broken and what to do")
    return row


def _evidence(data: dict[str, Any]) -> Evidence:
    return Evidence(_one_of(HOW, _text(data, "how")), _text(data, "what"), _text(data, "where"))


def _text(data: dict[str, Any], name: str) -> str:
    value = data[name]
    if not isinstance(value, str) or not value:
        raise CompatError(f"{name} is a text that is not empty, got {value!r}")
    return value


def _one_of(known: tuple[str, ...], value: str) -> str:
    if value not in known:
        raise CompatError(f"{value!r} is none of {', '.join(known)}")
    return value


def version_key(text: str) -> tuple[int, ...]:
    """The numeric release of a version string; `0.33.0+cpu` and `0.33.0` are the same release."""
    match = re.match(r"\d+(?:\.\d+)*", text)
    return tuple(int(part) for part in match.group().split(".")) if match else ()


def accepted(package: str, version: str) -> bool:
    """Whether the user has told the engine to start with this version all the same; another one is not meant."""
    named = {part.strip() for part in os.environ.get(ACCEPT_ENV, "").split(",")}
    return f"{package}=={version}" in named
