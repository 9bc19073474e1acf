"""The agent of one engine: a server on the engine's own event loop, and the ranks behind it.

It must never hold the engine up: requests beyond a client's share, or beyond QUEUE in all, are refused at once, a reply
that a client does not take is dropped and counted, and everything that waits for the ranks waits in a task of its own.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import Counter

import zmq
import zmq.asyncio

from .claim import Claim
from .coordinator import Coordinator, RankGroup
from .engine import AgentInfo, Engine
from .errors import IpcError
from .messages import LIMITS
from .request_reader import Answer, Request, failed, succeeded
from .restore import Restored
from .server import LINGER_MS, Fields, Server
from .verbs.engine import VERBS

log = logging.getLogger("opswap.agent")
# In all: eight clients that use up their share leave none for a ninth, and the engine still does its work.
QUEUE = 8 * LIMITS["in_flight"]
HEARTBEAT_S = 1.0
JUDGE_S = 5.0
#: How late an override may end.
OVERRIDES_S = 0.2


class Agent:
    """Serves one engine. `await start()` binds and returns; `await stop()` ends everything and gives the name up.
    `claim` holds the name already, where the engine took it before it loaded its model."""

    def __init__(self, name: str, ranks: RankGroup, info: AgentInfo, claim: Claim | None = None) -> None:
        self.name = name
        self._claim = claim
        self._server = Server("engine", name)
        self.engine = Engine(name, ranks, info, self._server.counters, self._server.started)
        self._tasks: set[asyncio.Task[None]] = set()
        self._waiting: Counter[bytes] = Counter()

    @property
    def counters(self) -> Counter[str]:
        return self._server.counters

    @property
    def coordinator(self) -> Coordinator:
        return self.engine.coordinator

    @property
    def restored(self) -> Restored:
        return self.engine.restored

    async def start(self) -> None:
        """Takes the name, restores the last choice, then listens. Raises IpcError when the name is taken."""
        registration = self._server.register(self._claim)
        beat = asyncio.create_task(self._beat())
        try:
            registration.publish("starting")
            await self.engine.ranks.start(self.name, self.counters)
            await self.engine.restore(registration.state_file())
            self._socket = self._server.bind(zmq.asyncio.Context.instance())
            registration.publish()
        except BaseException:
            beat.cancel()
            await self.engine.ranks.stop()
            registration.close()
            raise
        self._loops = [
            beat,
            *(asyncio.create_task(loop()) for loop in (self._listen, self._judge, self._end_overrides)),
        ]

    async def stop(self) -> None:
        """Lets a switch that is under way finish: half of one is the one state the ranks must not be left in."""
        for loop in self._loops:
            loop.cancel()
        stopped = asyncio.create_task(self.engine.quarantine.stop())
        await asyncio.gather(*self._loops, return_exceptions=True)
        async with self.engine.switching:
            for task in self._tasks:
                task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await stopped
        await self.engine.end()
        await self.engine.ranks.stop()
        self._socket.close(linger=LINGER_MS)
        self._server.registration.close()

    async def ask(self, verb: str, fields: Fields) -> Fields:
        """Carries out a request from within this process; raises IpcError when it is refused."""
        return await VERBS[verb](self.engine, fields)

    async def _listen(self) -> None:
        while True:
            peer, *frames = await self._socket.recv_multipart()
            if len(frames) == 1:
                await self._accept(peer, frames[0])
            else:
                self.counters["refused"] += 1

    async def _accept(self, peer: bytes, frame: bytes) -> None:
        read = self._server.read(peer, frame)
        if isinstance(read, Answer):
            await self._send(peer, read.frame)
        elif reason := self._too_busy_for(peer):
            self.counters["busy"] += 1
            await self._send(peer, failed(read.id, IpcError("OPSWAP_E_BUSY", f"{read.verb}: {reason}")))
        else:
            task = asyncio.create_task(self._carry_out(peer, read))
            self._tasks.add(task)
            self._waiting[peer] += 1
            task.add_done_callback(lambda done: self._finished(peer, done))

    def _too_busy_for(self, peer: bytes) -> str | None:
        """A share for each client, so that one that floods the agent is refused alone."""
        if self._waiting[peer] >= LIMITS["in_flight"]:
            return f"{LIMITS['in_flight']} requests of this client are waiting already"
        return f"{QUEUE} requests of all clients are waiting already" if len(self._tasks) >= QUEUE else None

    def _finished(self, peer: bytes, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._waiting[peer] -= 1
        if not self._waiting[peer]:
            del self._waiting[peer]

    async def _carry_out(self, peer: bytes, request: Request) -> None:
        try:
            frame = succeeded(request.id, await self.ask(request.verb, request.fields))
        except Exception as error:
            frame = self._server.failure(request, error)
        await self._send(peer, frame)

    async def _send(self, peer: bytes, frame: bytes) -> None:
        try:
            await self._socket.send_multipart([peer, frame], flags=zmq.NOBLOCK)
        except zmq.ZMQError:
            # The client is gone (EHOSTUNREACH) or does not read (EAGAIN): its loss, not the engine's.
            self.counters["dropped"] += 1

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(HEARTBEAT_S)
            with contextlib.suppress(OSError, IpcError):  # the next beat tries again
                self._server.registration.touch()

    async def _judge(self) -> None:
        while True:
            await asyncio.sleep(JUDGE_S)
            with contextlib.suppress(IpcError):  # a rank that does not answer now is asked again
                await self.engine.judge_trials()
                await self.engine.judge_shadows()
            await self.engine.quarantine.remove_old_recordings()

    async def _end_overrides(self) -> None:
        while True:
            await asyncio.sleep(OVERRIDES_S)
            # Where this agent is stopped meanwhile: a switch is never cut short.
            ending = asyncio.create_task(self.engine.end_overrides())
            self._tasks.add(ending)
            ending.add_done_callback(self._tasks.discard)
            try:
                await asyncio.shield(ending)
            except Exception:  # nobody else takes back what this loop takes back
                self.counters["failed"] += 1
                log.exception("overrides were not taken back; this is tried again")
