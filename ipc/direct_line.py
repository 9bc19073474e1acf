"""A direct line from the agent to each rank, beside the engine's broadcast: what it asks does not wait for a step.

The broadcast carries what must be ordered with steps. All else (what could be switched, counters, reasons) is asked on
a private socket in the runtime folder, and a thread of the rank answers it while the model runs. Opening the line is a
broadcast itself, which brings each rank the engine's name and a token; who greets with another token is ignored.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import secrets
import threading
from collections.abc import Callable
from functools import partial
from typing import Any

import msgpack
import zmq
import zmq.asyncio

from .answers import Answer, answer_frame, answer_of
from .discovery import socket_path
from .errors import IpcError
from .messages import LIMITS
from .rank_candidates import CANDIDATES
from .watch import WATCH
from .wire import decode

log = logging.getLogger("opswap.line")
#: What a rank may be asked while a step runs: nothing of it changes what the step runs.
OFF_THE_STEP = ("prepare", "abort", "status", "ops", "why", "report", "progress", *WATCH, *CANDIDATES)
#: Loads a file, for as long as that takes: on a thread of its own, so that all else is answered meanwhile.
SLOW = ("register",)
SUFFIX = ".line.sock"
POLL_MS = 1000
Run = Callable[[str, tuple[Any, ...]], Answer]


class DirectLine:
    """The agent's end. `open` binds; the ranks greet after the broadcast; `call` asks all of them."""

    def __init__(self) -> None:
        self.token = secrets.token_hex(16)
        self._numbers = itertools.count(1)
        self._peers: dict[int, bytes] = {}
        self._waiting: dict[int, dict[int, asyncio.Future[Answer]]] = {}
        self._greeted = asyncio.Event()
        self._size = 0
        self.silent: list[int] = []
        self._loop: asyncio.Task[None] | None = None

    @property
    def is_open(self) -> bool:
        """Whether every rank has greeted."""
        return self._size > 0 and len(self._peers) == self._size

    def bind(self, engine: str) -> None:
        """Binds the socket; the agent has the engine's name, so nobody else uses it."""
        self._path = socket_path(engine, SUFFIX)
        self._path.unlink(missing_ok=True)
        self._socket = zmq.asyncio.Context.instance().socket(zmq.ROUTER)
        self._socket.setsockopt(zmq.MAXMSGSIZE, LIMITS["request_bytes"])
        self._socket.setsockopt(zmq.LINGER, 0)
        try:
            self._socket.bind(f"ipc://{self._path}")
        except zmq.ZMQError:
            self._socket.close()
            raise
        self._loop = asyncio.create_task(self._listen())

    async def greeted_by(self, size: int) -> None:
        """Waits for the greeting of each of `size` ranks; whoever waits sets the time limit."""
        self._size = size
        while not self.is_open:
            self._greeted.clear()
            await self._greeted.wait()

    async def call(self, method: str, args: tuple[Any, ...]) -> list[Answer]:
        """One answer per rank; whoever waits sets the time limit."""
        number = next(self._numbers)
        self.silent = []
        loop = asyncio.get_running_loop()
        waiting = self._waiting[number] = {rank: loop.create_future() for rank in self._peers}
        try:
            frame = msgpack.packb([number, method, args])
            for peer in list(self._peers.values()):
                await self._socket.send_multipart([peer, frame])
            return list(await asyncio.gather(*waiting.values()))
        except asyncio.CancelledError:
            self.silent = sorted(rank for rank, answer in waiting.items() if not answer.done() or answer.cancelled())
            raise
        finally:
            del self._waiting[number]

    async def stop(self) -> None:
        """Ends the socket. Does nothing where `bind` did not come so far."""
        if self._loop is None:
            return
        self._loop.cancel()
        await asyncio.gather(self._loop, return_exceptions=True)
        self._socket.close()
        self._path.unlink(missing_ok=True)

    async def _listen(self) -> None:
        while True:
            peer, *frames = await self._socket.recv_multipart()
            try:
                self._take(peer, decode(frames[0]) if len(frames) == 1 else None)
            except (IpcError, TypeError, ValueError, KeyError) as error:
                log.warning("a message on the direct line was refused: %s", error)

    def _take(self, peer: bytes, value: Any) -> None:
        head, rank, answer = value
        if isinstance(head, str) and secrets.compare_digest(head.encode(), self.token.encode()):
            self._peers[int(rank)] = peer
            self._greeted.set()
        elif self._peers[rank] == peer and isinstance(answer, dict) and answer.get("rank") == rank:
            # An answer that comes when nobody waits any more is dropped.
            future = self._waiting.get(head, {}).get(rank)
            if future is not None and not future.done():
                future.set_result(answer)


class RankLine:
    """A rank's end: a thread that answers. `run(method, args)` must be safe beside a running step, and what is SLOW
    beside all else."""

    def __init__(self, engine: str, token: str, rank: int, run: Run) -> None:
        self._rank = rank
        self._run = run
        self._closing = False
        self._socket: zmq.Socket[bytes] = zmq.Context.instance().socket(zmq.DEALER)
        self._socket.setsockopt(zmq.LINGER, 0)
        self._socket.setsockopt(zmq.MAXMSGSIZE, LIMITS["request_bytes"])
        self._socket.connect(f"ipc://{socket_path(engine, SUFFIX)}")
        self._socket.send(msgpack.packb([token, rank, None]))
        # Frames of other threads, for the one that has the socket.
        self._late: zmq.Socket[bytes] = zmq.Context.instance().socket(zmq.PULL)
        self._late_at = f"inproc://opswap-line-{secrets.token_hex(8)}"
        self._late.bind(self._late_at)
        self._thread = threading.Thread(target=self._serve, name="opswap-line", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Has the thread end, when it has answered what it is on."""
        self._closing = True

    def _serve(self) -> None:
        poller = zmq.Poller()
        poller.register(self._socket, zmq.POLLIN)
        poller.register(self._late, zmq.POLLIN)
        while not self._closing:
            ready = dict(poller.poll(POLL_MS))
            if self._late in ready:
                self._socket.send(self._late.recv())
            if self._socket not in ready:
                continue
            try:
                number, method, args = decode(self._socket.recv())
            except (IpcError, TypeError, ValueError) as error:
                log.warning("a message on the direct line was refused: %s", error)
                continue
            if method in SLOW:
                threading.Thread(target=self._answer_late, args=(number, method, args), daemon=True).start()
            else:
                self._socket.send(self._frame(number, method, args))
        self._socket.close()
        self._late.close()

    def _answer_late(self, number: int, method: str, args: list[Any]) -> None:
        frame = self._frame(number, method, args)
        # Where the line was closed meanwhile, nobody waits.
        with contextlib.suppress(zmq.ZMQError), zmq.Context.instance().socket(zmq.PUSH) as socket:
            socket.setsockopt(zmq.LINGER, POLL_MS)
            socket.connect(self._late_at)
            socket.send(frame, zmq.NOBLOCK)

    def _frame(self, number: int, method: str, args: list[Any]) -> bytes:
        answer = answer_of(self._rank, method, partial(self._call, method, tuple(args)))
        return answer_frame([number, self._rank], method, answer, LIMITS["request_bytes"])

    def _call(self, method: str, args: tuple[Any, ...]) -> Answer:
        if method not in OFF_THE_STEP:
            raise IpcError("OPSWAP_E_VERB", f"expected one of {', '.join(OFF_THE_STEP)}")
        return self._run(method, args)
