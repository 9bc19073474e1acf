"""Processes that an engine's agent starts beside it, where all cores may be busy: what they are started with, and how
long they took."""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress
from pathlib import Path
from typing import Protocol

#: What binds a process's first thread, and those of OpenMP, to cores as soon as torch is imported.
_BINDING = ("GOMP_CPU_AFFINITY", "KMP_AFFINITY", "OMP_PLACES", "OMP_PROC_BIND")


def environment_beside(own: dict[str, str]) -> dict[str, str]:
    """This process's environment and `own`, without what binds threads to cores. vLLM 0.33.0 binds each rank on a CPU
    to cores of its own by GOMP_CPU_AFFINITY, which its engine core hands on: a process that is bound to a rank's core
    waits for it."""
    return {name: value for name, value in os.environ.items() if name not in _BINDING} | own


class Child(Protocol):
    """A process as subprocess, asyncio and uvloop have it."""

    @property
    def pid(self) -> int: ...
    def kill(self) -> None: ...


def lead_a_group() -> None:
    """First of all in a process beside an engine: a group of its own, which alone is ended with it. It is no session:
    Linux shares cores out among sessions first, and 6.18.44 let one wait for minutes beside an engine's that never
    rests. The process does it by itself, since uvloop 0.23.0 refuses to start one in a group."""
    os.setpgid(0, 0)


def end_group(child: Child) -> None:
    """Ends a process and its group; one that leads none yet has not started anything either."""
    with suppress(ProcessLookupError):
        try:
            os.killpg(child.pid, signal.SIGKILL)
        except ProcessLookupError:
            child.kill()


class OwnTime:
    """The seconds of a process in which it had a core or waited for something else than one. On a busy machine a
    process may wait for a core longer than for anything that it does, and has not hung for that."""

    def __init__(self, pid: int) -> None:
        self._stat = Path("/proc") / str(pid) / "stat"
        self._began = self._looked = time.monotonic()
        self._cpu, self._seconds = 0.0, 0.0

    def seconds(self) -> float:
        """Until now; exact where it is asked often."""
        now = time.monotonic()
        passed, self._looked = now - self._looked, now
        try:
            # Behind the name, which may have anything in it: the state, and as fields 12 and 13 user and system ticks.
            fields = self._stat.read_text().rpartition(")")[2].split()
        except OSError:
            fields = []
        if len(fields) > 12:
            cpu = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
            had, self._cpu = cpu - self._cpu, cpu
            passed = min(passed, had) if fields[0] == "R" else passed
        self._seconds += passed
        return self._seconds

    def passed(self) -> float:
        """All seconds until `seconds` was last asked."""
        return self._looked - self._began


def has_hung(own: float, passed: float, most: float) -> bool:
    """Whether something takes longer than `most` seconds, of which half at least were its own."""
    return passed > most and own > most / 2
