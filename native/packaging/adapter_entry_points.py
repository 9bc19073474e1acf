"""Gives the package's build the entry points of every adapter: adapters/<engine>/entry_points.txt.

So an adapter says itself by which names its engine loads it, and pyproject.toml names none.
"""

from __future__ import annotations

from collections.abc import Mapping
from configparser import ConfigParser
from pathlib import Path
from typing import Any

ADAPTERS = Path(__file__).resolve().parents[2] / "adapters"


def entry_points(adapters: Path = ADAPTERS) -> dict[str, dict[str, str]]:
    """Object reference by name by group. Raises ValueError when two adapters give one name in one group."""
    found: dict[str, dict[str, str]] = {}
    for file in sorted(adapters.glob("*/entry_points.txt")):
        parser = ConfigParser(delimiters=("=",))
        parser.optionxform = str  # type: ignore[assignment,method-assign]  # names keep their case
        parser.read_string(file.read_text("utf-8"), str(file))
        for group in parser.sections():
            names = found.setdefault(group, {})
            for name, target in parser.items(group):
                if name in names:
                    raise ValueError(f"{file}: {group} has {name} already, for {names[name]}")
                names[name] = target
    return found


def dynamic_metadata(settings: Mapping[str, Any], project: Mapping[str, Any]) -> dict[str, Any]:
    """Called by scikit-build-core, as pyproject.toml says; returns the fields of [project] that it gives."""
    return {"entry-points": entry_points()}
