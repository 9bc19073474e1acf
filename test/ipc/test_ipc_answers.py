"""Ranks' answers on the agent's private socket: gathered by ticket, bounded, and nothing else is taken."""

from __future__ import annotations

import asyncio
import stat
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import msgpack
import pytest
import zmq
from opswap.ipc.answers import AnswerCollector, AnswerSender, PendingAnswers, Ticket
from opswap.ipc.messages import LIMITS

COUNTERS: Counter[str] = Counter()
Scene = Callable[[AnswerCollector, AnswerSender], Awaitable[Any]]


def run(scene: Scene, size: int = 2) -> Any:
    async def all_of_it() -> Any:
        collector, sender = AnswerCollector(size), AnswerSender()
        COUNTERS.clear()
        await collector.start("e", COUNTERS)
        try:
            return await asyncio.wait_for(scene(collector, sender), 10)
        finally:
            sender.close()
            await collector.stop()

    return asyncio.run(all_of_it())


def answer(rank: int, **fields: Any) -> dict[str, Any]:
    return {"rank": rank, "ok": True, **fields}


async def counted(name: str, number: int) -> None:
    while COUNTERS[name] < number:
        await asyncio.sleep(0.005)


def test_answers_of_all_ranks_are_gathered_by_method_and_epoch(runtime: Path) -> None:
    async def scene(collector: AnswerCollector, sender: AnswerSender) -> list[list[dict[str, Any]]]:
        with (
            collector.expect("prepare", (4, {})) as (first, one),
            collector.expect("prepare", (5, {})) as (second, two),
        ):
            assert (first.method, first.number, second.number) == ("prepare", 4, 5)
            for ticket in (second, first):
                for rank in (1, 0):
                    sender.send(Ticket(*list(ticket)), answer(rank, epoch=ticket.number))
            return [await one.answers(), await two.answers()]

    for epoch, answers in zip((4, 5), run(scene), strict=True):
        assert sorted(a["rank"] for a in answers) == [0, 1]
        assert {a["epoch"] for a in answers} == {epoch}


def test_calls_without_an_epoch_have_numbers_of_their_own(runtime: Path) -> None:
    async def scene(collector: AnswerCollector, _sender: AnswerSender) -> set[int]:
        with collector.expect("status", ()) as (one, _), collector.expect("status", ()) as (two, _):
            return {one.number, two.number}

    assert len(run(scene)) == 2


def test_late_answers_and_those_for_another_agent_are_dropped(runtime: Path) -> None:
    async def scene(collector: AnswerCollector, sender: AnswerSender) -> list[dict[str, Any]]:
        with collector.expect("commit", (7,)) as (old, _):
            pass
        sender.send(old, answer(0))
        with collector.expect("commit", (8,)) as (ticket, pending):
            sender.send(ticket._replace(agent="0" * 16), answer(0, wrong=True))
            sender.send(ticket, answer(0))
            sender.send(ticket, answer(0, wrong=True))
            assert pending.missing() == [0, 1]
            sender.send(ticket, answer(1))
            answers = await pending.answers()
            assert pending.missing() == []
        await counted("answers_late", 3)
        return answers

    assert run(scene) == [answer(0), answer(1)]


@pytest.mark.parametrize(
    "frame",
    [
        b"",
        b"\x80\x04N.",  # pickled None
        msgpack.packb("text"),
        msgpack.packb(["e", "a", "status", 1]),
        msgpack.packb(["e", "a", "status", 1, []]),
        msgpack.packb(["e", "a", "status", 1, {"rank": 0}]),
        msgpack.packb(["e", "a", "status", 1, {"rank": 2, "ok": True}]),
        msgpack.packb(["e", "a", "status", 1, {"rank": True, "ok": True}]),
        msgpack.packb(["e", "a", "status", [1], {"rank": 0, "ok": True}]),
        msgpack.packb(msgpack.ExtType(1, b"x")),
    ],
)
def test_what_is_no_answer_is_refused_and_ends_nothing(runtime: Path, frame: bytes) -> None:
    async def scene(collector: AnswerCollector, sender: AnswerSender) -> None:
        socket = zmq.Context.instance().socket(zmq.PUSH)
        socket.connect(f"ipc://{runtime / 'e.ranks.sock'}")
        socket.send(frame)
        await counted("answers_refused", 1)
        socket.close(linger=0)
        with collector.expect("status", ()) as (ticket, pending):
            for rank in (0, 1):
                sender.send(ticket, answer(rank))
            await pending.answers()

    run(scene)


def test_an_answer_that_is_too_large_becomes_a_refusal(runtime: Path) -> None:
    async def scene(collector: AnswerCollector, sender: AnswerSender) -> list[dict[str, Any]]:
        with collector.expect("ops", ()) as (ticket, pending):
            sender.send(ticket, answer(0, ops="x" * LIMITS["request_bytes"]))
            return await pending.answers()

    assert [a["code"] for a in run(scene, size=1)] == ["OPSWAP_E_TOO_LARGE"]


@pytest.mark.parametrize("value", [object(), 1 << 64, "\udc80"])
def test_an_answer_that_cannot_be_packed_becomes_a_refusal(runtime: Path, value: Any) -> None:
    async def scene(collector: AnswerCollector, sender: AnswerSender) -> list[dict[str, Any]]:
        with collector.expect("report", ()) as (ticket, pending):
            sender.send(ticket, answer(0, value=value))
            return await pending.answers()

    (refusal,) = run(scene, size=1)
    assert refusal["code"] == "OPSWAP_E_UNEXPECTED"
    assert refusal["reason"].startswith("report: the answer cannot be sent")


def test_a_rank_whose_agent_is_gone_never_waits(runtime: Path) -> None:
    sender = AnswerSender()
    for number in range(20 * LIMITS["in_flight"]):
        sender.send(Ticket("nobody", "a", "status", number), answer(0))
    assert sender.dropped > 0
    sender.close()


def test_the_socket_lies_in_the_private_folder_and_goes_with_the_agent(runtime: Path) -> None:
    async def scene(_collector: AnswerCollector, _sender: AnswerSender) -> bool:
        return stat.S_ISSOCK((runtime / "e.ranks.sock").stat().st_mode)

    assert run(scene)
    assert list(runtime.iterdir()) == []


def test_an_engine_name_that_leads_elsewhere_gets_nothing(runtime: Path) -> None:
    sender = AnswerSender()
    sender.send(Ticket("../e", "a", "status", 1), answer(0))
    assert sender.dropped == 1


def test_the_first_answer_of_a_rank_counts() -> None:
    pending = PendingAnswers(2)
    assert [pending.take(answer(0)), pending.take(answer(0)), pending.take(answer(1))] == [True, False, True]
