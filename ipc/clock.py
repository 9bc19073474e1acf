"""The clocks of an engine, in one place so that tests can play them."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


class Clock(Protocol):
    """What is asked of time."""

    @property
    def boot(self) -> str:
        """Names this start of the machine: times of `running_ms` can be compared within it."""
        ...

    def wall_ms(self) -> int:
        """Unix time, which people and other machines set."""
        ...

    def running_ms(self) -> int:
        """Since the machine started, in its sleep too. Nobody sets it."""
        ...


def _boot_id() -> str:
    try:
        return BOOT_ID.read_text("ascii").strip()[:64]
    except OSError:
        return ""


@dataclass(frozen=True)
class SystemClock:
    boot: str

    @staticmethod
    def make() -> SystemClock:
        return SystemClock(_boot_id())

    def wall_ms(self) -> int:
        return time.time_ns() // 1_000_000

    def running_ms(self) -> int:
        return time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1_000_000
