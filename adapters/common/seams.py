"""A seam is a place where an engine lets another kernel in. Each adapter has a table of them; this is what a row holds,
and how the rows are chosen and installed in a process."""

from __future__ import annotations

import importlib
import os
from collections.abc import Mapping
from dataclasses import dataclass

from opswap.adapters.common.state import PluginState


@dataclass(frozen=True)
class Seam:
    """One row.

    `install` is `module:function` below the adapter's layers; `official` is false for a workaround; `counted` is false
    where the counters of its ops do not tell that this seam is used; `kernels` are the classes that the engine gives
    to layers of this seam, where it chooses one per layer and not every model has such layers.
    """

    name: str
    ops: tuple[str, ...]
    target: str
    how: str
    flag: str
    install: str
    cpu_only: bool = False
    official: bool = True
    counted: bool = True
    kernels: tuple[str, ...] = ()


@dataclass(frozen=True)
class InstallContext:
    """What the install function of every row is given."""

    on_cpu: bool


@dataclass(frozen=True)
class SeamTable:
    """The rows of one engine. `layers` is the package of the install functions, `skip_env` the variable by which a user
    leaves rows to the engine, `not_offered` says of ops why no row can carry them."""

    engine: str
    layers: str
    skip_env: str
    rows: tuple[Seam, ...]
    not_offered: Mapping[str, str]

    def ops(self) -> list[str]:
        """Every op that a seam carries."""
        return sorted({op for seam in self.rows for op in seam.ops})

    def why_not_offered(self, op: str) -> str | None:
        """Why no seam carries an op, or None when one does. A new op needs no entry: it waits for its seam."""
        if any(op in seam.ops for seam in self.rows):
            return None
        return self.not_offered.get(
            op, "no seam of this adapter carries it yet; call it as torch.ops.opswap or by `opswap call`"
        )

    def skipped_by_user(self) -> set[str]:
        """Seams that the user leaves to the engine; an unknown name is an error, not a silent no-op."""
        names = {name.strip() for name in os.environ.get(self.skip_env, "").split(",") if name.strip()}
        unknown = names - {seam.name for seam in self.rows}
        if unknown:
            known = ", ".join(seam.name for seam in self.rows)
            raise ValueError(f"opswap: {self.skip_env} names {', '.join(sorted(unknown))}; the seams are {known}")
        return names

    def choose(self, context: InstallContext, state: PluginState) -> list[Seam]:
        """The seams to install here; the others are noted with their reason."""
        skipped = self.skipped_by_user()
        chosen = []
        for seam in self.rows:
            reason = self._why_not_installed(seam, context, skipped)
            if reason is None:
                chosen.append(seam)
            else:
                state.skipped[seam.name] = reason
        return chosen

    def _why_not_installed(self, seam: Seam, context: InstallContext, skipped: set[str]) -> str | None:
        if seam.name in skipped:
            return f"left to {self.engine} by {self.skip_env}"
        if seam.cpu_only and not context.on_cpu:
            return f"only for {self.engine}'s CPU platform"
        return None

    def install(self, seam: Seam, context: InstallContext, state: PluginState) -> None:
        """Installs one row and notes it."""
        module_name, _, function = seam.install.partition(":")
        module = importlib.import_module(f"{self.layers}.{module_name}")
        getattr(module, function)(context)
        state.installed[seam.name] = seam.how
