"""Starts the process in quarantine, watches it, and ends it; on a thread, so that nobody waits who serves.

What it says is bounded and checked: it may be a candidate's doing.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from opswap.lifeline import PARENT

from ..beside import OwnTime, end_group, environment_beside, has_hung

POLL_S = 0.05
MOST_LINE = 1 << 16
MOST_LINES = 1 << 14
#: Of what the candidate printed, for the reason.
LOG_BYTES = 2000
#: Of imports and of a candidate's first call, which may compile; and of any other stage.
SLOW_S, CALL_S = 120.0, 30.0
Line = dict[str, Any]


@dataclass
class Ended:
    """How it went: the lines that came, and how the process ended.

    Attributes:
        lines: as the process told them, in order.
        signal, code: how it ended by itself; None where it was ended.
        why: of an end by the supervisor: `hung`, `time`, `memory`, `flood`, `stopped`; else empty.
        seconds: in the last stage.
        printed: the end of what it printed.
    """

    lines: list[Line] = field(default_factory=list)
    signal: int | None = None
    code: int | None = None
    why: str = ""
    seconds: float = 0.0
    printed: str = ""


def supervise(job: Line, timeout_s: float, stop: threading.Event) -> Ended:
    """Carries a job out in a process of its own. Blocks until it has ended, `timeout_s` at most, or `stop` is set."""
    folder = Path(tempfile.mkdtemp(prefix="opswap-quarantine-"))
    try:
        with (folder / "printed").open("wb+") as printed:
            ended = _Process(job, timeout_s, folder, printed).watch(stop)
            size = printed.seek(0, os.SEEK_END)
            printed.seek(max(0, size - LOG_BYTES))
            ended.printed = printed.read(LOG_BYTES).decode(errors="replace").strip()
        return ended
    finally:
        shutil.rmtree(folder, ignore_errors=True)


class _Process:
    def __init__(self, job: Line, timeout_s: float, folder: Path, printed: Any) -> None:
        self._report, writer = os.pipe()
        os.set_blocking(self._report, False)
        self._timeout_s = timeout_s
        self._most_memory = int(job["memory_bytes"])
        self._first_memory: int | None = None
        self._rest = b""
        self._ended = Ended()
        threads = str(job["threads"])
        own = {PARENT: str(os.getpid()), "TMPDIR": str(folder), "OMP_NUM_THREADS": threads}
        try:
            self._child = subprocess.Popen(
                [sys.executable, "-m", "opswap.ipc.quarantine", str(writer)],
                cwd=folder,
                env=environment_beside(own),
                stdin=subprocess.PIPE,
                stdout=printed,
                stderr=printed,
                pass_fds=[writer],
            )
        except OSError:
            os.close(self._report)
            raise
        finally:
            os.close(writer)
        self._give(job)

    def _give(self, job: Line) -> None:
        assert self._child.stdin is not None
        with contextlib.suppress(BrokenPipeError), self._child.stdin as pipe:
            pipe.write(json.dumps(job).encode())

    def watch(self, stop: threading.Event) -> Ended:
        began, own, stage, stage_began = time.monotonic(), OwnTime(self._child.pid), 0.0, 0.0
        try:
            while not self._has_ended():
                select.select([self._report], [], [], POLL_S)
                now = own.seconds()
                if self._read():
                    stage, stage_began = now, own.passed()
                self._ended.seconds = own.passed() - stage_began
                hung = has_hung(now - stage, self._ended.seconds, self._most_seconds())
                if why := self._why_not(hung, time.monotonic() - began > self._timeout_s, stop):
                    self._ended.why = why
                    break
        finally:
            self._end()
        return self._ended

    def _why_not(self, hung: bool, is_over: bool, stop: threading.Event) -> str:
        """Why it may not go on; empty where it may."""
        if stop.is_set():
            return "stopped"
        if len(self._ended.lines) > MOST_LINES or len(self._rest) > MOST_LINE:
            return "flood"
        if self._memory() > self._most_memory:
            return "memory"
        if hung:
            return "hung"
        return "time" if is_over else ""

    def _most_seconds(self) -> float:
        """Of one stage. A first call may compile, and so may what is loaded."""
        calls = [line for line in self._ended.lines if line["stage"] == "judged"]
        return min(CALL_S if calls else SLOW_S, self._timeout_s / 2)

    def _memory(self) -> int:
        """Bytes in memory beside those from before the candidate was loaded: RLIMIT_DATA does not count shared ones."""
        if not any(line["stage"] == "load" for line in self._ended.lines[:8]):
            return 0
        with contextlib.suppress(OSError, IndexError, ValueError):
            pages = int(Path(f"/proc/{self._child.pid}/statm").read_text().split()[1])
            now = pages * os.sysconf("SC_PAGE_SIZE")
            self._first_memory = now if self._first_memory is None else self._first_memory
            return now - self._first_memory
        return 0

    def _has_ended(self) -> bool:
        """Without taking it from the table: until then its number is nobody else's, and its group can be ended."""
        found = os.waitid(os.P_PID, self._child.pid, os.WEXITED | os.WNOWAIT | os.WNOHANG)
        return found is not None

    def _read(self) -> bool:
        """Whether a line has come."""
        try:
            got = os.read(self._report, MOST_LINE)
        except BlockingIOError:
            return False
        *texts, self._rest = (self._rest + got).split(b"\n")
        lines = [line for text in texts if (line := _line(text)) is not None]
        self._ended.lines += lines
        return bool(lines)

    def _end(self) -> None:
        """Ends the group, and takes what the process still said."""
        ended_itself = self._has_ended()
        end_group(self._child)
        code = self._child.wait()
        if ended_itself and not self._ended.why:
            self._ended.signal, self._ended.code = (-code, None) if code < 0 else (None, code)
        while self._read() and len(self._ended.lines) <= MOST_LINES:
            pass
        os.close(self._report)


def _line(text: bytes) -> Line | None:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) and isinstance(value.get("stage"), str) else None
