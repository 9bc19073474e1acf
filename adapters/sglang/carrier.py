"""Carries broadcasts from the agent to the schedulers of one engine, over the RPC socket that SGLang has for that.

It is the same for an `Engine` object, which has opened the socket, and for a server, which leaves that to others.
The schedulers' answers come by the agent's private socket, so no reply of SGLang's is read, let alone unpickled.
"""

from __future__ import annotations

import asyncio
import json
import os
from typing import Any

import zmq
from opswap.adapters.common.agent import make_agent
from opswap.adapters.common.offline import GuestThread, Turnstile
from opswap.adapters.common.prefix_cache import Progress
from opswap.adapters.common.ranks import EngineRanks
from opswap.adapters.sglang import doctor
from opswap.adapters.sglang.adapter import ADAPTER
from opswap.adapters.sglang.scheduler import METHOD
from opswap.ipc.agent import Agent
from opswap.ipc.coordinator import all_answered, ask

AGENT_ENV = "OPSWAP_SGLANG_AGENT"
CONNECT_MS = 5000
#: A rank that does not tell in time how far it is costs a figure, not the switch.
PROGRESS_S = 2.0


def agents_are_off() -> bool:
    """Whether the user wants the ops without a switch."""
    return os.environ.get(AGENT_ENV) == "off"


class SchedulerEngine:
    """The engine as EngineRanks wants it. `socket` is the RPC socket; one thread at a time passes `turnstile` to it."""

    def __init__(self, socket: zmq.Socket[bytes], turnstile: Turnstile) -> None:
        self._socket = socket
        self._guest = GuestThread(turnstile)
        self._calls: list[tuple[str, tuple[Any, ...]]] = []
        self._sending: asyncio.Task[None] | None = None
        self._at_reset: Progress | None = None
        #: Set by whoever makes the ranks, which have the tickets for answers.
        self.ranks: EngineRanks

    async def broadcast(self, method: str, args: tuple[Any, ...]) -> None:
        """What is broadcast in one turn of the loop goes as one request, so that no step comes in between."""
        self._calls.append((method, args))
        if self._sending is None:
            self._sending = asyncio.create_task(self._send())
        await asyncio.shield(self._sending)

    async def reset_prefix_cache(self) -> bool:
        answers = all_answered(await self.ranks.call("forget"))
        done = all(answer["forgotten"] for answer in answers)
        self._at_reset = answers[0]["requests"] if done else None
        return done

    async def progress(self) -> Progress:
        if self._at_reset is not None:  # asked right behind the reset, which the switch waits for
            at_reset, self._at_reset = self._at_reset, None
            return at_reset
        answers = all_answered(await ask(self.ranks, "progress", PROGRESS_S))
        counts: Progress = answers[0]["requests"]
        return counts

    async def _send(self) -> None:
        calls, self._calls, self._sending = self._calls, [], None
        await self._guest.run(self._send_now, json.dumps(calls))

    def _send_now(self, calls: str) -> None:
        from sglang.srt.managers.io_struct import RpcReqInput, sock_send

        # A socket that was just opened has no scheduler yet, and one whose scheduler died has none again.
        if not self._socket.poll(CONNECT_MS, zmq.POLLOUT):
            raise ConnectionError(f"no scheduler took the call in {CONNECT_MS / 1000:g} s")
        sock_send(self._socket, RpcReqInput(method=METHOD, parameters={"calls": calls}), zmq.NOBLOCK)


def agent_of(args: Any, name: str, socket: zmq.Socket[bytes], turnstile: Turnstile, url: str | None = None) -> Agent:
    """The agent of the engine with these server arguments, whose schedulers listen on the RPC socket."""
    engine = SchedulerEngine(socket, turnstile)
    engine.ranks = EngineRanks(engine, answering=args.tp_size, direct_line=True)
    return make_agent(ADAPTER, name, engine.ranks, str(args.model_path), doctor.engine_checks, url=url)
