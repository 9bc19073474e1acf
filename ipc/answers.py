"""The way back for the answers of ranks, where the engine's broadcast returns none.

The agent binds a private socket in the runtime folder, one per engine. A broadcast carries a ticket; each rank that has
run the call pushes one bounded frame with the ticket and its answer. A ticket is good for one call of one agent: it
names the method and the epoch of a switch, or a running number where a call has no epoch.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import os
import secrets
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import msgpack
import zmq
import zmq.asyncio

from .discovery import socket_path
from .errors import IpcError, code_of
from .messages import LIMITS
from .wire import decode

log = logging.getLogger("opswap.answers")
#: Methods whose first argument is an epoch, which is used once.
OF_A_SWITCH = ("prepare", "commit", "abort")
SUFFIX = ".ranks.sock"
LINGER_MS = 200
Answer = dict[str, Any]


class Ticket(NamedTuple):
    """What an answer must bring back; `engine` and `agent` say who waits for it."""

    engine: str
    agent: str
    method: str
    number: int


class AnswerCollector:
    """The agent's side: gives out tickets, and gathers one answer of each of `size` ranks for each ticket."""

    def __init__(self, size: int) -> None:
        self.size = size
        self._agent = secrets.token_hex(8)
        self._numbers = itertools.count(1)
        self._waiting: dict[Ticket, PendingAnswers] = {}
        self.silent: list[int] = []

    async def start(self, engine: str, counters: Counter[str]) -> None:
        """Binds the socket; the agent has the engine's name, so nobody else uses it.

        Answers that nobody waits for any more, and what is no answer, are counted.
        """
        self._engine = engine
        self._counters = counters
        path = socket_path(engine, SUFFIX)
        path.unlink(missing_ok=True)
        self._socket = zmq.asyncio.Context.instance().socket(zmq.PULL)
        self._socket.setsockopt(zmq.MAXMSGSIZE, LIMITS["request_bytes"])
        self._socket.setsockopt(zmq.RCVHWM, LIMITS["in_flight"])
        try:
            self._socket.bind(f"ipc://{path}")
        except zmq.ZMQError:
            self._socket.close(linger=0)
            raise
        self._path = path
        self._loop = asyncio.create_task(self._listen())

    async def stop(self) -> None:
        """Ends the socket. Does nothing where `start` did not come so far."""
        if not hasattr(self, "_loop"):
            return
        self._loop.cancel()
        await asyncio.gather(self._loop, return_exceptions=True)
        self._socket.close(linger=0)
        self._path.unlink(missing_ok=True)

    @contextmanager
    def expect(self, method: str, args: tuple[Any, ...]) -> Iterator[tuple[Ticket, PendingAnswers]]:
        """A ticket for one call, and what gathers its answers; answers that come after the block are dropped."""
        number = int(args[0]) if method in OF_A_SWITCH else next(self._numbers)
        ticket = Ticket(self._engine, self._agent, method, number)
        pending = self._waiting[ticket] = PendingAnswers(self.size)
        try:
            yield ticket, pending
        finally:
            self.silent = pending.missing()
            del self._waiting[ticket]

    async def _listen(self) -> None:
        while True:
            frames = await self._socket.recv_multipart()
            try:
                ticket, answer = _read(frames, self.size)
            except IpcError as error:
                self._counters["answers_refused"] += 1
                log.warning("an answer was refused: %s", error.message)
                continue
            pending = self._waiting.get(ticket)
            if pending is None or not pending.take(answer):
                self._counters["answers_late"] += 1


class PendingAnswers:
    """The answers to one ticket, one per rank; the first of each rank counts."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._by_rank: dict[int, Answer] = {}
        self._whole = asyncio.Event()

    def take(self, answer: Answer) -> bool:
        """False for a second answer of a rank."""
        if answer["rank"] in self._by_rank:
            return False
        self._by_rank[answer["rank"]] = answer
        if len(self._by_rank) == self._size:
            self._whole.set()
        return True

    def missing(self) -> list[int]:
        """Ranks without an answer."""
        return sorted(set(range(self._size)) - self._by_rank.keys())

    async def answers(self) -> list[Answer]:
        """All of them, when the last has come; whoever waits sets the time limit."""
        await self._whole.wait()
        return list(self._by_rank.values())


class AnswerSender:
    """A rank's side: pushes answers, and never waits for an agent that does not take them."""

    def __init__(self) -> None:
        self.dropped = 0
        self._sockets: dict[tuple[int, str], zmq.Socket[bytes]] = {}

    def send(self, ticket: Ticket, answer: Answer) -> None:
        """One frame, or none when the agent is gone: a rank goes on, and the agent's time limit tells its client."""
        try:
            frame = answer_frame(list(ticket), ticket.method, answer, LIMITS["request_bytes"])
            self._socket(ticket.engine).send(frame, zmq.NOBLOCK)
        except (zmq.ZMQError, IpcError) as error:
            self.dropped += 1
            if self.dropped == 1:
                log.warning("an answer to %s cannot be sent: %s", ticket.engine, error)

    def close(self) -> None:
        for socket in self._sockets.values():
            socket.close(linger=LINGER_MS)
        self._sockets.clear()

    def _socket(self, engine: str) -> zmq.Socket[bytes]:
        """By process too: a socket must not be used by a forked child."""
        key = (os.getpid(), engine)
        if key not in self._sockets:
            socket = zmq.Context.instance().socket(zmq.PUSH)
            socket.setsockopt(zmq.SNDHWM, LIMITS["in_flight"])
            socket.setsockopt(zmq.LINGER, LINGER_MS)
            socket.connect(f"ipc://{socket_path(engine, SUFFIX)}")
            self._sockets[key] = socket
        return self._sockets[key]


def answer_of(rank: int, method: str, call: Callable[[], Answer | None]) -> Answer:
    """What a rank answers to a call. An exception becomes an answer: without one the agent would wait for its limit."""
    try:
        return {"rank": rank, "ok": True, **(call() or {})}
    except Exception as error:
        reason = f"{method}: {type(error).__name__}: {error}"
        return {"rank": rank, "ok": False, "code": code_of(error), "reason": reason}


def answer_frame(head: list[Any], method: str, answer: Answer, limit: int) -> bytes:
    """`[*head, answer]` as one frame of at most `limit` bytes. An answer that cannot be sent becomes a refusal: an
    exception would end the rank, which is the engine's."""
    try:
        frame: bytes = msgpack.packb([*head, answer])
    # packb raises several classes: TypeError, OverflowError, UnicodeEncodeError for half of a surrogate pair.
    except Exception as error:
        code, why = "OPSWAP_E_UNEXPECTED", f"cannot be sent: {type(error).__name__}: {str(error)!a}"
    else:
        if len(frame) <= limit:
            return frame
        code, why = "OPSWAP_E_TOO_LARGE", f"has {len(frame)} bytes, at most {limit} are sent"
    refusal = {"rank": answer["rank"], "ok": False, "code": code, "reason": f"{method}: the answer {why}"}
    short: bytes = msgpack.packb([*head, refusal])
    return short


def _read(frames: list[bytes], size: int) -> tuple[Ticket, Answer]:
    """Ticket and answer of a message; IpcError for anything else."""
    value = decode(frames[0]) if len(frames) == 1 else None
    with contextlib.suppress(TypeError, ValueError):
        engine, agent, method, number, answer = value
        ticket = Ticket(engine, agent, method, number)
        kinds = (type(engine), type(agent), type(method), type(number), type(answer))
        if kinds == (str, str, str, int, dict) and _is_of_a_rank(answer, size):
            return ticket, answer
    raise IpcError("OPSWAP_E_MESSAGE", f"expected [engine, agent, method, number, answer] of one of {size} ranks")


def _is_of_a_rank(answer: Answer, size: int) -> bool:
    rank = answer.get("rank")
    return type(rank) is int and 0 <= rank < size and type(answer.get("ok")) is bool
