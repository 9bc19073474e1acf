"""Naming a process for good: pids are used again, a pid with its start time is not."""

from __future__ import annotations

from pathlib import Path


def start_time(pid: int) -> str | None:
    """Start of a process in clock ticks since boot, as text; None when it has ended, even if not yet waited for."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return None
    # The command name may hold blanks and brackets, so count from the last bracket: field 22 is the 20th after it.
    fields = stat[stat.rindex(b")") + 2 :].split()
    return None if fields[0] in (b"Z", b"X") else fields[19].decode()


def is_alive(pid: int, start: str) -> bool:
    """Whether the process that had this pid and start time still runs."""
    return start_time(pid) == start
