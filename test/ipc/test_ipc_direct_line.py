"""The line beside the broadcast, over real sockets: ranks answer from a thread, and only what no step waits for."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import msgpack
import pytest
import zmq
from opswap.ipc.direct_line import SUFFIX, DirectLine, RankLine

LIMIT_S = 5.0
#: Longer than anything waits on its own for a line that is busy.
BUSY_S = 1.5


def run_lines(
    ranks: list[Callable[[str, tuple[Any, ...]], Any]], work: Callable[[DirectLine], Awaitable[Any]]
) -> tuple[Any, DirectLine]:
    """`work` on the line of an agent whose ranks answer by these functions."""

    async def all_of_it() -> tuple[Any, DirectLine]:
        line = DirectLine()
        line.bind("e")
        made = [RankLine("e", line.token, rank, answer) for rank, answer in enumerate(ranks)]
        try:
            await asyncio.wait_for(line.greeted_by(len(ranks)), LIMIT_S)
            return await asyncio.wait_for(work(line), LIMIT_S), line
        finally:
            for rank in made:
                rank.close()
            await line.stop()

    return asyncio.run(all_of_it())


def test_every_rank_answers_from_a_thread_of_its_own(runtime: Path) -> None:
    threads: list[str] = []

    def answer(method: str, args: tuple[Any, ...]) -> dict[str, Any]:
        threads.append(threading.current_thread().name)
        return {"method": method, "args": list(args)}

    got, _ = run_lines([answer, answer], lambda line: line.call("why", ("rms_norm",)))
    assert got == [{"rank": rank, "ok": True, "method": "why", "args": ["rms_norm"]} for rank in (0, 1)]
    assert threads == ["opswap-line"] * 2
    assert not (runtime / f"e{SUFFIX}").exists()


def test_what_must_wait_for_a_step_is_refused(runtime: Path) -> None:
    ran: list[str] = []
    got, _ = run_lines([lambda method, _args: ran.append(method)], lambda line: line.call("commit", (1,)))
    assert (got[0]["ok"], got[0]["code"], ran) == (False, "OPSWAP_E_VERB", [])


@pytest.mark.parametrize(
    ("answer", "code", "told"),
    [
        (lambda: 1 / 0, "OPSWAP_E_UNEXPECTED", "ZeroDivisionError"),
        (lambda: {"x": object()}, "OPSWAP_E_UNEXPECTED", "cannot be sent"),
        (lambda: {"x": b"0" * (1 << 20)}, "OPSWAP_E_TOO_LARGE", "bytes, at most"),
    ],
)
def test_an_answer_that_cannot_be_given_becomes_a_refusal(runtime: Path, answer: Any, code: str, told: str) -> None:
    got, _ = run_lines([lambda _method, _args: answer()], lambda line: line.call("status", ()))
    assert (got[0]["rank"], got[0]["ok"], got[0]["code"]) == (0, False, code)
    assert told in got[0]["reason"]


def test_a_late_answer_waits_for_the_line_as_long_as_that_is_busy(runtime: Path) -> None:
    registered = threading.Event()

    def answer(method: str, _args: tuple[Any, ...]) -> dict[str, Any]:
        if method == "register":
            registered.set()
            return {"late": True}
        assert registered.wait(LIMIT_S)
        time.sleep(BUSY_S)
        return {}

    async def work(line: DirectLine) -> list[list[dict[str, Any]]]:
        return await asyncio.gather(line.call("register", ()), line.call("report", ()))

    got, _ = run_lines([answer], work)
    assert got == [[{"rank": 0, "ok": True, "late": True}], [{"rank": 0, "ok": True}]]


def test_a_rank_that_is_silent_holds_up_only_who_waits_for_it(runtime: Path) -> None:
    released = threading.Event()

    def slow_prepare(method: str, _args: tuple[Any, ...]) -> dict[str, Any]:
        if method == "prepare":
            released.wait(LIMIT_S)
        return {}

    async def work(line: DirectLine) -> list[dict[str, Any]]:
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(line.call("prepare", ()), 0.5)
        assert line.silent == [1]
        released.set()
        return await line.call("status", ())

    got, line = run_lines([lambda _method, _args: {}, slow_prepare], work)
    assert got == [{"rank": 0, "ok": True}, {"rank": 1, "ok": True}]
    assert line._waiting == {}


def test_a_stranger_is_no_rank(runtime: Path) -> None:
    """Another token, an answer in a rank's name, and rubbish: all are ignored, and the real rank is still asked."""

    async def work(line: DirectLine) -> list[dict[str, Any]]:
        stranger = zmq.Context.instance().socket(zmq.DEALER)
        stranger.setsockopt(zmq.LINGER, 0)
        stranger.connect(f"ipc://{runtime / f'e{SUFFIX}'}")
        for frame in (["0" * 32, 0, None], [1, 0, {"rank": 0, "ok": False}], [1, 7, {}], "x", None, ["é", 0, None]):
            stranger.send(msgpack.packb(frame))
        stranger.send(b"\xc1")
        stranger.send_multipart([b"a", b"b"])
        await asyncio.sleep(0.1)
        try:
            return await line.call("status", ())
        finally:
            stranger.close()

    got, line = run_lines([lambda _method, _args: {"mine": True}], work)
    assert got == [{"rank": 0, "ok": True, "mine": True}]
    assert len(line._peers) == 1


def test_a_line_without_its_ranks_is_not_open(runtime: Path) -> None:
    async def nobody() -> bool:
        line = DirectLine()
        line.bind("e")
        try:
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(line.greeted_by(1), 0.05)
            return line.is_open
        finally:
            await line.stop()

    assert asyncio.run(nobody()) is False


def test_a_candidate_that_loads_for_long_holds_nothing_up(runtime: Path) -> None:
    """Panic, the end of an override and every switch ask the same ranks meanwhile."""
    loaded = threading.Event()

    def answer(method: str, _args: tuple[Any, ...]) -> dict[str, Any]:
        return {"loaded": loaded.wait(LIMIT_S) if method == "register" else loaded.is_set()}

    async def work(line: DirectLine) -> list[bool]:
        registered = asyncio.create_task(line.call("register", ({}, False)))
        await asyncio.sleep(0)
        (other,) = await line.call("prepare", ())
        loaded.set()
        (slow,) = await registered
        return [other["loaded"], slow["loaded"]]

    assert run_lines([answer], work)[0] == [False, True]
