"""A candidate is loaded in a process of its own before any rank loads it: one that crashes, hangs, raises or takes all
memory while it is loaded ends there. `probe` is the engine's side; run as a module, this file is the other one.

One JSON row on standard input; one JSON answer on standard output, which the candidate cannot print to.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
import time
from typing import Any

from opswap.lifeline import PARENT, end_with_parent

from .beside import OwnTime, end_group, environment_beside, has_hung, lead_a_group
from .candidate_config import refused
from .errors import IpcError, code_of

#: Of seconds of which half are its own, and of any.
PROBE_TIMEOUT_S = 120.0
LONGEST_S = 280.0
POLL_S = 0.1
#: For a process that was ended to be gone. One that gets no core does not even end.
END_S = 5.0
MOST_REASON = 1000
Row = dict[str, Any]


async def probe(row: Row, timeout: float = PROBE_TIMEOUT_S) -> None:
    """Loads a candidate in another process. Raises IpcError with what it said, or how it ended."""
    command = (sys.executable, "-m", "opswap.ipc.candidate_probe")
    pipes = {"stdin": asyncio.subprocess.PIPE, "stdout": asyncio.subprocess.PIPE, "stderr": asyncio.subprocess.DEVNULL}
    own = environment_beside({PARENT: str(os.getpid())})
    child = await asyncio.create_subprocess_exec(*command, **pipes, env=own)
    answer = asyncio.ensure_future(child.communicate(json.dumps(row).encode()))
    try:
        if why := await _late(answer, OwnTime(child.pid), timeout):
            raise refused(f"{row['path']}: was not loaded within {why}")
        said, _ = answer.result()
    finally:
        answer.cancel()
        end_group(child)  # what it started ends too
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(child.wait(), END_S)
    _judge(row, said, child.returncode or 0)


async def _late(answer: asyncio.Future[Any], own: OwnTime, timeout: float) -> str:
    """Waits for the answer; says within what it did not come, or nothing."""
    end = time.monotonic() + LONGEST_S
    while not answer.done():
        await asyncio.wait({answer}, timeout=POLL_S)
        seconds = own.seconds()
        if has_hung(seconds, own.passed(), timeout) and not answer.done():
            return f"{timeout:g} s in another process"
        if time.monotonic() > end and not answer.done():
            waited = own.passed() - seconds
            return f"{LONGEST_S:g} s in another process, which waited for a core for {waited:.0f} s of them; try again"
    return ""


def _judge(row: Row, said: bytes, status: int) -> None:
    if status < 0:
        name = signal.Signals(-status).name if -status in set(signal.Signals) else f"signal {-status}"
        raise refused(f"{row['path']}: crashed another process while it was loaded: {name}")
    try:
        answer = json.loads(said)
    except ValueError:
        raise refused(f"{row['path']}: ended another process, with status {status}, while it was loaded") from None
    if not answer["ok"]:
        raise IpcError(answer["code"], answer["reason"])


def main() -> None:
    """Loads the row of standard input, and says how that went."""
    lead_a_group()
    end_with_parent()
    row = json.load(sys.stdin)
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    json.dump(_loaded(row), answers)
    answers.flush()
    os._exit(0)  # what a candidate has left to be done at the end is not waited for


def _loaded(row: Row) -> dict[str, Any]:
    import opswap

    from .candidate_files import load_candidate
    from .quarantine.keeper import MEMORY_BYTES
    from .quarantine.limits import limit

    try:
        limit(MEMORY_BYTES)
        load_candidate(opswap, row)
    except Exception as error:
        return {"ok": False, "code": code_of(error), "reason": getattr(error, "message", str(error))[:MOST_REASON]}
    return {"ok": True}


if __name__ == "__main__":
    main()
