"""The engine of test/adapters/fictitious with its agent, in a runtime folder of its own."""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

FICTITIOUS = Path(__file__).parent / "adapters/fictitious"
SIZE = 2


def package(site: Path) -> None:
    """Installs the engine in a folder that stands for one of installed packages."""
    info = site / "toy_engine-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: toy-engine\nVersion: 1.0\n")


@contextmanager
def toy(site: Path, graphs: bool = False) -> Iterator[Any]:
    """(engine of two ranks, its attached agent). `site` is a folder that stands for one of installed packages."""
    patch = pytest.MonkeyPatch()
    package(site)
    runtime = tempfile.mkdtemp(prefix="ow")  # a short path, since it holds sockets
    patch.setenv("OPSWAP_RUNTIME_DIR", runtime)
    for folder in (str(site), str(FICTITIOUS)):
        patch.syspath_prepend(folder)  # spawned ranks are given this process's path
    engine = import_module("toy_engine").ToyEngine(SIZE, "toy_adapter.plugin:register", graphs)
    try:
        with import_module("toy_adapter.agent").attach(engine, "toy", SIZE) as attached:
            yield engine, attached
    finally:
        engine.stop()
        patch.undo()
        shutil.rmtree(runtime, ignore_errors=True)
        for name in [name for name in sys.modules if name.partition(".")[0] in ("toy_engine", "toy_adapter")]:
            del sys.modules[name]


def ask(attached: Any, verb: str, **fields: Any) -> dict[str, Any]:
    return attached.run(attached.agent.ask(verb, fields))


def use(attached: Any, impl: str, timeout_ms: int = 20_000) -> dict[str, Any]:
    return ask(attached, "use", changes=[{"op": "silu_and_mul", "impl": impl}], timeout_ms=timeout_ms)


def counted(attached: Any) -> list[dict[str, int]]:
    """Calls per implementation on each rank."""
    ranks = ask(attached, "ops", op="silu_and_mul")["ranks"]
    return [{impl["name"]: impl["calls"] for impl in rank["ops"][0]["impls"]} for rank in ranks]


def ran(attached: Any, before: list[dict[str, int]]) -> list[set[str]]:
    """Implementations that each rank has called since `before`."""
    pairs = zip(counted(attached), before, strict=True)
    return [{name for name, calls in now.items() if calls > then[name]} for now, then in pairs]


def plant(engine: Any, method: str, *args: Any) -> None:
    """Has the ranks run a method whose answer nobody waits for."""
    agent_of_nobody = ["toy", "0" * 16, method, 0]
    engine.broadcast(method, (agent_of_nobody, *args))
