"""What one engine's adapter says of itself, once: the rest of this folder works from it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from opswap.adapters.common.context import StepContext
from opswap.adapters.common.probe import Probe
from opswap.adapters.common.seams import SeamTable
from opswap.adapters.common.state import PluginState


@dataclass(frozen=True, eq=False)
class Adapter:
    """One per engine, made at import of its folder, before engine and torch are.

    Attributes:
        engine: its name as its makers write it.
        package: its name in Python's package index, and in the agent's status.
        seams: its seam table.
        probe: what the adapter was tested with.
        framework: the module that holds the engine's own kernels, KERNELS and ABSENT (see framework.py).
        on_cpu: asks the engine whether it runs on the CPU.
        entry_points: the groups of entry points by which the engine loads opswap.
        stale_compilation: what to try when a seam is never called because the engine took an old compiled model.
        bindings: the module whose `register()` makes the ops callable for the engine, and whose `register_impl` adds
            implementations that live in Python.
        state, context: of this process.
    """

    engine: str
    package: str
    seams: SeamTable
    probe: Probe
    framework: str
    on_cpu: Callable[[], bool]
    entry_points: tuple[str, ...]
    stale_compilation: str = ""
    bindings: str = "opswap.torch_ops"
    state: PluginState = field(default_factory=PluginState)
    context: StepContext = field(default_factory=StepContext)
