"""What a process in quarantine may take of the machine; set by itself before the candidate is loaded."""

from __future__ import annotations

import os
import resource
from contextlib import suppress
from pathlib import Path

FILE_BYTES = 256 << 20
#: Beside what this user's processes have: compilers of a candidate need some, and a candidate that forks is stopped.
MORE_PROCESSES = 256
#: A quarter of a core that an engine wants all of.
NICE = 5


def limit(memory_bytes: int) -> None:
    """No core file, no large file, no flood of processes, and no more than `memory_bytes` beside what is taken now.

    Memory is counted as RLIMIT_DATA does: torch reserves far more addresses than it ever writes to, which RLIMIT_AS
    would count.
    """
    os.nice(NICE)
    _lower(resource.RLIMIT_CORE, 0)
    _lower(resource.RLIMIT_FSIZE, FILE_BYTES)
    _lower(resource.RLIMIT_DATA, _taken() + memory_bytes)
    # For a user who may start everything it does not count.
    _lower(resource.RLIMIT_NPROC, _tasks() + MORE_PROCESSES)


def _lower(what: int, value: int) -> None:
    hard = resource.getrlimit(what)[1]
    wanted = value if hard == resource.RLIM_INFINITY else min(value, hard)
    resource.setrlimit(what, (wanted, wanted))


def _taken() -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmData:"):
            return int(line.split()[1]) * 1024
    return 0


def _tasks() -> int:
    """Threads of this user's processes."""
    count = 0
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it has ended meanwhile
            if process.stat().st_uid == os.getuid():
                count += sum(1 for _ in (process / "task").iterdir())
    return count
