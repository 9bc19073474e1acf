"""The engine that does not exist, as the common suite of adapters drives it: two ranks, with numbers for tokens."""

from __future__ import annotations

import sys
import tempfile
from functools import cache
from importlib import import_module
from pathlib import Path

import numpy as np
from toy import FICTITIOUS, SIZE, package

site = tempfile.TemporaryDirectory(prefix="opswap-toy-")
package(Path(site.name))
sys.path[:0] = [site.name, str(FICTITIOUS)]  # spawned ranks are given this process's path

ADAPTER = import_module("toy_adapter.definition").ADAPTER
LOAD = f"import sys; sys.path[:0] = {sys.path[:2]!r}; import toy_adapter.plugin; toy_adapter.plugin.register(0)"
PROMPTS = [[1, 5, 9, 33], [2, 4, 6, 8]]
USED = {"silu_and_mul"}
#: It has neither a cache of KV nor an implementation with other results.
LOUD = LONG = None


@cache
def engine() -> object:
    return import_module("toy_engine").ToyEngine(SIZE, "toy_adapter.plugin:register")


def attach(name: str) -> object:
    return import_module("toy_adapter.agent").attach(engine(), name, SIZE)


def forget() -> None:
    """It caches nothing."""


def generate(prompts: list[list[int]], count: int) -> list[list[int]]:
    """`count` steps for each prompt; what they give is rounded, since implementations differ in the last bits."""
    rows = [np.array([[n % 5 - 2 for n in prompt]], np.float32) for prompt in prompts]
    given = [[engine().step(row / (n + 1))[0] for n in range(count)] for row in rows]  # type: ignore[attr-defined]
    return [np.round(np.concatenate(outs).ravel() * 1000).astype(int).tolist() for outs in given]
