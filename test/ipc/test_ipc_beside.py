"""What counts as the time of a process that an agent starts beside its engine."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from opswap.ipc.beside import OwnTime, has_hung

BUSY = "import os\nos.sched_setaffinity(0, {%d})\nos.nice(%d)\nprint(flush=True)\nwhile True: pass\n"
LOOK_S = 1.0


@contextmanager
def running(program: str) -> Iterator[subprocess.Popen[bytes]]:
    child = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE)
    try:
        assert child.stdout is not None
        child.stdout.readline()
        yield child
    finally:
        child.kill()
        child.communicate()


def share_of_its_own(child: subprocess.Popen[bytes]) -> float:
    """Of the seconds that pass while somebody looks."""
    own = OwnTime(child.pid)
    before, began = own.seconds(), time.monotonic()
    while time.monotonic() < began + LOOK_S:
        time.sleep(0.02)
        own.seconds()
    return (own.seconds() - before) / (time.monotonic() - began)


def test_one_that_waits_for_something_has_all_of_the_time() -> None:
    with running("import time\nprint(flush=True)\ntime.sleep(60)\n") as child:
        assert share_of_its_own(child) > 0.9


def test_one_that_waits_for_a_core_has_what_it_gets_of_it() -> None:
    """Beside another on the same core, to which Linux gives 68 times as much (nice 0 beside 19)."""
    core = min(os.sched_getaffinity(0))
    with running(BUSY % (core, 0)), running(BUSY % (core, 19)) as child:
        assert share_of_its_own(child) < 0.5


def test_one_that_has_ended_goes_on_as_if_it_waited() -> None:
    """Whoever asks finds out by other ways that it has ended."""
    with running("print(flush=True)\n") as child:
        child.wait()
        assert share_of_its_own(child) > 0.9


@pytest.mark.parametrize(
    ("own", "passed", "hung"), [(31, 31, True), (29, 29, False), (16, 40, True), (4, 280, False), (31, 30, False)]
)
def test_thirty_seconds_are_too_many_where_half_of_them_were_its_own(own: float, passed: float, hung: bool) -> None:
    assert has_hung(own, passed, 30) is hung
