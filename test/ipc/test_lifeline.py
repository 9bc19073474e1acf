"""Children that end with a parent that was killed; ends are seen as ends of pipes, so nothing here waits for a time."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from opswap import lifeline

SLEEP = "import sys, time; print('up', flush=True); time.sleep(600)"
#: A command with a child of its own, as an engine has workers; both hold the pipe that is written to.
FAMILY = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {SLEEP!r}])"
IGNORES = "import signal, sys; signal.signal(signal.SIGTERM, signal.SIG_IGN); " + FAMILY


@contextmanager
def led(*command: str) -> Iterator[subprocess.Popen[str]]:
    """A group that `lifeline` leads, once the innermost of it is up."""
    words = [sys.executable, lifeline.__file__, *command]
    pipe = subprocess.PIPE
    with subprocess.Popen(words, stdin=pipe, stdout=pipe, stderr=pipe, text=True, start_new_session=True) as process:
        try:
            yield process
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


def test_a_group_ends_with_the_input_of_its_leader() -> None:
    with led(sys.executable, "-c", FAMILY) as process:
        assert process.stdout is not None and process.stdin is not None
        assert process.stdout.readline() == "up\n"
        process.stdin.close()
        assert process.stdout.read() == "", "every process of the group has let go of the pipe"
        assert process.wait() == 128 + signal.SIGTERM


def test_what_does_not_end_is_ended_by_force() -> None:
    code = (
        "import sys; from opswap import lifeline; lifeline.GRACE_S = 0.2; "
        f"sys.exit(lifeline.main([sys.executable, '-c', {IGNORES!r}]))"
    )
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", code], stdin=pipe, stdout=pipe, start_new_session=True) as process:
        assert process.stdout is not None and process.stdin is not None
        assert process.stdout.readline() == b"up\n"
        process.stdin.close()
        assert process.stdout.read() == b""
        assert process.wait() == -signal.SIGKILL


def test_the_leader_tells_how_its_command_ended() -> None:
    with led(sys.executable, "-c", "import sys; sys.exit(7)") as process:
        assert process.wait() == 7
    with led("/nowhere/vllm") as process:
        assert process.wait() == 127
        assert process.stderr is not None
        assert process.stderr.read() == "/nowhere/vllm cannot be started: No such file or directory\n"


PARENT = """
import os, subprocess, sys, time
code = "from opswap.lifeline import end_with_parent; end_with_parent(); import time; print('up', flush=True); "
code += "time.sleep(600)"
subprocess.run([sys.executable, "-c", code], env={**os.environ, "OPSWAP_PARENT": str(os.getpid())})
"""


def test_a_child_that_asks_for_it_ends_with_a_parent_that_only_waits() -> None:
    with subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == b"up\n"
        parent.kill()
        assert parent.stdout.read() == b"", "the child has let go of the pipe"


def test_a_child_whose_parent_is_gone_already_does_not_start() -> None:
    code = "from opswap.lifeline import end_with_parent; end_with_parent(); print('started')"
    env = {**os.environ, "OPSWAP_PARENT": "1"}
    ran = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stdout) == (1, "")
