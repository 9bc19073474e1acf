"""Which adapters there are, found by their folders, and what the common suite says of all of them."""

from __future__ import annotations

import sys
from functools import cache
from importlib import import_module, metadata
from pathlib import Path
from types import ModuleType
from typing import Any

import opswap
from opswap.adapters.common.adapter import Adapter

TESTS = Path(__file__).parent / "adapters"
FICTITIOUS = "fictitious"
# What the engines' tests share is imported by name, by workers that are spawned too.
sys.path.append(str(TESTS / "common"))


def product() -> list[str]:
    """Those of the package."""
    folder = Path(opswap.__file__).parent / "adapters"
    return sorted(file.parent.name for file in folder.glob("*/adapter.py") if file.parent.name != "common")


@cache
def adapter(name: str) -> Adapter:
    """Its definition, which needs no engine."""
    if name == FICTITIOUS:
        sys.path.append(str(TESTS / FICTITIOUS))
        return import_module("toy_adapter.definition").ADAPTER
    return import_module(f"opswap.adapters.{name}.adapter").ADAPTER


def is_installed(name: str) -> bool:
    if name == FICTITIOUS:
        return True
    try:
        metadata.version(adapter(name).package)
    except metadata.PackageNotFoundError:
        return False
    return True


def driver(name: str) -> ModuleType:
    """test/adapters/NAME/NAME_driver.py: how the suite has that engine load, generate and attach an agent."""
    if (folder := str(TESTS / name)) not in sys.path:
        sys.path.insert(0, folder)
    return import_module(f"{name}_driver")


ALL = [*product(), FICTITIOUS]
INSTALLED = [name for name in ALL if is_installed(name)]


def report(adapter: Adapter, rank: int = 0, **changes: Any) -> dict[str, Any]:
    """What a healthy rank of this engine reports of what all engines have."""
    rows = adapter.seams.rows
    installed = {row.name: row.how for row in rows}
    healthy = {
        "rank": rank,
        "pid": 1,
        "step": 4,
        "plugin": {
            "engine_version": adapter.probe.compat.best,
            "installed": installed,
            "skipped": {},
            "bypassed": {},
        },
        "trouble": "",
        "version": {"build_digest": "d" * 64, "device_status": "no CUDA device"},
        "kernels": {kernel: 3 for row in rows for kernel in row.kernels[:1]},
        "calls": {op: 1 for row in rows for op in row.ops},
    }
    return {**healthy, **changes}


def by_name(checks: list[dict[str, str]]) -> dict[str, dict[str, str]]:
    return {check["name"]: check for check in checks}
