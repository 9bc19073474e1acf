"""What an adapter relies on in an engine that cannot be installed where opswap is built: tables of names, signatures,
import paths and registries, each row with the source that it was read from. A folder has one JSON file per table.

A table is read for a range of versions; drift.py compares an installed tree with it, without importing the tree.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from opswap.adapters.common.compat import version_key

FORMAT = 1
#: The kinds of rows, and what each needs besides seam, kind, module and name; `value` may be there.
KINDS: Mapping[str, tuple[str, ...]] = {
    "function": ("parameters",),  # of a module or of a class; the parameters as in its definition, without annotations
    "class": ("bases",),  # also metaclass and decorators, where the adapter counts on them
    "variable": (),  # assigned in the module
    "attribute": (),  # assigned in a class, or in a method of it to self
    "op": ("parameters", "mutates", "schema"),  # registered with torch from Python
    "key": ("key", "value"),  # of a registry that is a dict of names
    "call": ("passes",),  # made in the module, with these arguments among others
    "text": (),  # a string of the module: an option, a variable of the environment
}


class ContractError(ValueError):
    """A table that is not as it should be; the text says where."""


@dataclass(frozen=True)
class Row:
    """One thing that the adapter relies on; `more` is what its kind has besides."""

    seam: str
    kind: str
    module: str
    name: str
    more: Mapping[str, Any] = field(default_factory=dict)

    @property
    def where(self) -> str:
        key = f"[{self.more['key']!r}]" if self.kind == "key" else ""
        return f"{self.module}:{self.name}{key}"


@dataclass(frozen=True)
class Contract:
    """One table: `first` is the oldest version that it is for, `below` the first that it is not for, or empty."""

    table: str
    package: str
    first: str
    below: str
    rows: tuple[Row, ...]
    commits: Mapping[str, str | None]

    def fits(self, version: str) -> bool:
        key = version_key(version)
        return version_key(self.first) <= key and (not self.below or key < version_key(self.below))

    @property
    def versions(self) -> str:
        return f"{self.first} up to {self.below}" if self.below else f"{self.first} and later"


def read(file: Path) -> Contract:
    """One table. Raises ContractError where it is not whole: a row without a source is none."""
    try:
        text = json.loads(file.read_text("utf-8"))
        if text["format"] != FORMAT:
            raise ContractError(f"{file.name} has format {text['format']}, this opswap reads {FORMAT}")
        commits = {source["module"]: source["commit"] for source in text["sources"]}
        rows = tuple(_row(file, entry, commits) for entry in text["rows"])
        versions = text["versions"]
        return Contract(text["table"], text["package"], versions["from"], versions["below"] or "", rows, commits)
    except (OSError, json.JSONDecodeError, KeyError, TypeError) as error:
        raise ContractError(f"{file.name} cannot be read: {type(error).__name__}: {error}") from None


def _row(file: Path, entry: dict[str, Any], commits: Mapping[str, str | None]) -> Row:
    more = {name: value for name, value in entry.items() if name not in ("seam", "kind", "module", "name")}
    row = Row(entry["seam"], entry["kind"], entry["module"], entry["name"], more)
    lacking = [name for name in KINDS[row.kind] if name not in more]
    if row.module not in commits or lacking:
        what = ", ".join(lacking) or "a source"
        raise ContractError(f"{file.name}: {row.where} has no {what}")
    return row


def read_all(folder: Path) -> list[Contract]:
    return [read(file) for file in sorted(folder.glob("*.json"))]


def for_version(contracts: list[Contract], version: str) -> Contract | None:
    return next((contract for contract in contracts if contract.fits(version)), None)
