"""What the plugin did in this process. Read by the rank's report and by the doctor; written only at start-up."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass, field


@dataclass
class PluginState:
    """One record per process: which seams were installed, which were not and why, and what layers the engine kept."""

    pid: int = 0
    engine_version: str = ""
    installed: dict[str, str] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)
    bypassed: dict[str, int] = field(default_factory=dict)
    error: str = ""

    @property
    def registered(self) -> bool:
        """Whether the plugin ran here; a forked child inherits the registrations, a spawned one has none."""
        return self.pid != 0 and not self.error

    @property
    def trouble(self) -> str:
        """Why the plugin is not active in this process; empty when it is."""
        if self.error:
            return f"the plugin failed: {self.error}"
        return "" if self.registered else "the plugin never ran in this process"

    def begin(self) -> None:
        """Starts the record of this process."""
        self.pid = os.getpid()
        self.error = ""

    def bypass(self, layer: str, reason: str) -> None:
        """Counts a layer that stays with the engine's own code, so that it is never a silent fallback."""
        key = f"{layer}: {reason}"
        self.bypassed[key] = self.bypassed.get(key, 0) + 1

    def as_dict(self) -> dict[str, object]:
        return {**asdict(self), "registered": self.registered}
