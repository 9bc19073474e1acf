"""Processes that end with whoever started them, also when that one is killed and can do nothing any more.

As a program, `python lifeline.py COMMAND ARGUMENTS ...` runs a command in the process group that it leads, and ends the
whole group when standard input ends. Only the standard library is imported: it may run before anything else can.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress

#: For an orderly end of the group, before it is ended by force.
GRACE_S = 30.0
#: Who is the parent, told by the parent: it may have ended before its child could ask.
PARENT = "OPSWAP_PARENT"
_PR_SET_PDEATHSIG = 1


def end_with_parent() -> None:
    """From here on the kernel kills this process when its parent ends; for parents that wait and cannot hold a pipe."""
    expected = os.environ.pop(PARENT, None)
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if expected is not None and expected != str(os.getppid()):
        os._exit(1)


def _end_group_with_input() -> None:
    with suppress(OSError):
        while os.read(0, 4096):
            pass
    os.killpg(0, signal.SIGTERM)
    time.sleep(GRACE_S)
    os.killpg(0, signal.SIGKILL)


def main(command: list[str]) -> int:
    """Runs the command; returns its exit code, 128 and the signal's number where a signal ended it."""
    if not command:
        sys.stderr.write(f"{__doc__}")
        return 2
    # The group's signals are for the command; this process stays to tell how it ended. What is handled here, and not
    # ignored, is as usual in the command.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: None)
    try:
        child = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    except OSError as error:
        sys.stderr.write(f"{command[0]} cannot be started: {error.strerror}\n")
        return 127
    threading.Thread(target=_end_group_with_input, daemon=True).start()
    code = child.wait()
    return code if code >= 0 else 128 - code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
