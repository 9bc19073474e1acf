"""The agent of one engine: a ROUTER socket on the engine's own event loop, and the ranks behind it.

It must never hold the engine up: requests beyond a client's share, or beyond QUEUE in all, are refused at once, a reply
that a client does not take is dropped and counted, and everything that waits for the ranks waits in a task of its own.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import zmq
import zmq.asyncio

from .coordinator import Coordinator, RankGroup, ask
from .desk import Answer, Desk, Request, failed, succeeded
from .discovery import Post
from .doctor import diagnose
from .errors import IpcError, nearest
from .messages import LIMITS
from .restore import Restored, restore
from .state import Saved, StateFile

log = logging.getLogger("opswap.agent")
# In all: eight clients that use up their share leave none for a ninth, and the engine still does its work.
QUEUE = 8 * LIMITS["in_flight"]
HEARTBEAT_S = 1.0
ASK_TIMEOUT_S = 8.0
USE_TIMEOUT_MS = 30_000
LINGER_MS = 200
Fields = dict[str, Any]
Check = dict[str, str]


async def _no_checks() -> list[Check]:
    return []


@dataclass(frozen=True)
class AgentInfo:
    """What the adapter knows and the agent reports.

    `version` is opswap.version(), `manifest` is opswap.manifest(), both of this process; `framework` has name, version
    and model; `doctor` adds checks of the adapter's own ({name, state: ok|warn|fail, message, remedy}).
    """

    version: dict[str, Any]
    manifest: dict[str, Any]
    framework: dict[str, str]
    doctor: Callable[[], Awaitable[list[Check]]] = _no_checks


@dataclass
class Agent:
    """Serves one engine. `await start()` binds and returns; `await stop()` ends everything and gives the name up."""

    name: str
    ranks: RankGroup
    info: AgentInfo
    counters: Counter[str] = field(default_factory=Counter)
    restored: Restored = field(default_factory=Restored)

    def __post_init__(self) -> None:
        versions = {op["op"]: op["version"] for op in self.info.manifest["ops"]}
        self.coordinator = Coordinator(self.ranks, self.info.version["build_digest"], versions)
        self._choice: dict[str, str] = {}
        self._desk = Desk("engine", self.name)
        self._switching = asyncio.Lock()
        self._tasks: set[asyncio.Task[None]] = set()
        self._waiting: Counter[bytes] = Counter()
        self._verbs: dict[str, Callable[[Fields], Awaitable[Fields]]] = {
            "status": self._status,
            "ops": self._ops,
            "why": self._why,
            "use": self._use,
            "doctor": self._doctor,
            "manifest": self._manifest,
        }

    async def start(self) -> None:
        """Takes the name, restores the last choice, then listens. Raises IpcError when the name is taken."""
        self._started = int(time.time() * 1000)
        self._post = Post("engine", self.name)
        try:
            await self.ranks.start(self.name)
            self._state = StateFile(self._post.card.with_suffix(".state"))
            async with self._switching:
                self.restored = await restore(self.coordinator, self._state, USE_TIMEOUT_MS / 1000)
                self._choice = dict(self.restored.choice)
            self._socket = _bind(self._post.address)
            self._post.publish()
        except BaseException:
            await self.ranks.stop()
            self._post.close()
            raise
        self._loops = [asyncio.create_task(self._listen()), asyncio.create_task(self._beat())]

    async def ask(self, verb: str, fields: Fields) -> Fields:
        """Carries out a request from within this process; raises IpcError when it is refused."""
        return await self._verbs[verb](fields)

    async def stop(self) -> None:
        """Lets a switch that is under way finish: half of one is the one state the ranks must not be left in."""
        for loop in self._loops:
            loop.cancel()
        await asyncio.gather(*self._loops, return_exceptions=True)
        async with self._switching:
            for task in self._tasks:
                task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.ranks.stop()
        self._socket.close(linger=LINGER_MS)
        self._post.close()

    async def _listen(self) -> None:
        while True:
            peer, *frames = await self._socket.recv_multipart()
            if len(frames) != 1:
                self.counters["refused"] += 1
                continue
            self.counters["requests"] += 1
            await self._accept(peer, frames[0])

    async def _accept(self, peer: bytes, frame: bytes) -> None:
        read = self._desk.read(peer, frame)
        if isinstance(read, Answer):
            self.counters["refused"] += read.refused
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
            frame = succeeded(request.id, await self._verbs[request.verb](request.fields))
        except IpcError as error:
            self.counters["refused"] += 1
            frame = failed(request.id, error)
        # Whatever an adapter or a rank does wrong belongs to this request and must not end the agent.
        except Exception as error:
            log.exception("%s failed", request.verb)
            self.counters["failed"] += 1
            frame = failed(
                request.id, IpcError("OPSWAP_E_UNEXPECTED", f"{request.verb}: {type(error).__name__}: {error}")
            )
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
                self._post.touch()

    async def _status(self, _fields: Fields) -> Fields:
        return {
            "name": self.name,
            "pid": os.getpid(),
            "started": self._started,
            "version": self.info.version,
            "framework": self.info.framework,
            "epoch": self.coordinator.epoch,
            "choice": self._choice,
            "ranks": await ask(self.ranks, "status", ASK_TIMEOUT_S),
            "switching": self._switching.locked(),
            "restored": self.restored.report(),
            "divergence": self.coordinator.divergence,
            "counters": dict(self.counters),
        }

    async def _ops(self, fields: Fields) -> Fields:
        ranks = await ask(self.ranks, "ops", ASK_TIMEOUT_S)
        if "op" in fields:
            self._declared(fields["op"])
            ranks = [{**rank, "ops": [row for row in rank["ops"] if row["op"] == fields["op"]]} for rank in ranks]
        return {"ranks": ranks}

    async def _why(self, fields: Fields) -> Fields:
        answers = await ask(self.ranks, "why", ASK_TIMEOUT_S, fields["op"])
        for answer in answers:
            if not answer["ok"]:
                raise IpcError(answer["code"], answer["reason"])
        return {"op": fields["op"], "ranks": answers}

    async def _use(self, fields: Fields) -> Fields:
        if self._switching.locked():
            raise IpcError("OPSWAP_E_BUSY", "use: another switch is under way")
        changes = _as_map(fields["changes"])
        async with self._switching:
            self.counters["switches"] += 1
            outcome = await self.coordinator.use(changes, fields.get("timeout_ms", USE_TIMEOUT_MS) / 1000)
            self._choice.update(changes)
            self._remember()
        log.info("epoch %d at step %d: %s", outcome.epoch, outcome.step, changes)
        return {
            "epoch": outcome.epoch,
            "step": outcome.step,
            "changes": fields["changes"],
            "acks": outcome.acks,
        }

    async def _doctor(self, _fields: Fields) -> Fields:
        return diagnose(await self._status({}), await self.info.doctor())

    async def _manifest(self, _fields: Fields) -> Fields:
        return {"manifest": self.info.manifest}

    def _remember(self) -> None:
        """The switch has happened whatever the disk says, so a failure to save is counted, and told by doctor."""
        try:
            self._state.save(Saved(self.coordinator.epoch, self._choice))
        except OSError as error:
            log.error("the choice was not saved: %s", error)
            self.counters["not_saved"] += 1

    def _declared(self, op: str) -> None:
        if op not in self.coordinator.op_versions:
            raise IpcError("OPSWAP_E_NO_OP", f"no op named {op!r}{nearest(op, list(self.coordinator.op_versions))}")


def _bind(address: str) -> zmq.asyncio.Socket:
    socket = zmq.asyncio.Context.instance().socket(zmq.ROUTER)
    socket.setsockopt(zmq.MAXMSGSIZE, LIMITS["frame_bytes"])
    socket.setsockopt(zmq.RCVHWM, LIMITS["in_flight"])
    # Room for every reply that one well-behaved client can wait for, several times over.
    socket.setsockopt(zmq.SNDHWM, 4 * LIMITS["in_flight"])
    socket.setsockopt(zmq.ROUTER_MANDATORY, 1)
    socket.bind(address)
    return socket


def _as_map(changes: list[dict[str, str]]) -> dict[str, str]:
    wanted: dict[str, str] = {}
    for change in changes:
        if wanted.setdefault(change["op"], change["impl"]) != change["impl"]:
            raise IpcError("OPSWAP_E_FIELD", f"use: changes name {change['op']} twice, with different implementations")
    return wanted
