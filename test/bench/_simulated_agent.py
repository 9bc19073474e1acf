"""An agent in a process of its own, for `ab`: it switches ranks of another process to and fro until it is killed."""

from __future__ import annotations

import asyncio
import random
import threading
from multiprocessing.connection import Connection
from typing import Any

from _simulated_ranks import Answer, FakeNative
from opswap.adapters.common.ranks import EngineRanks
from opswap.ipc.agent import Agent
from opswap.ipc.engine import AgentInfo

FRAMEWORK = {"name": "vllm", "version": "0", "model": "simulated"}
IMPLS = ("ref", "framework", "cpu")


class PipedEngine:
    """Broadcasts through a pipe; answers come back with the number of their broadcast."""

    def __init__(self, pipe: Connection, loop: asyncio.AbstractEventLoop) -> None:
        self._pipe, self._loop = pipe, loop
        self._waiting: dict[int, asyncio.Future[list[Answer]]] = {}
        threading.Thread(target=self._receive, daemon=True).start()

    async def broadcast(self, method: str, args: tuple[Any, ...]) -> list[Answer]:
        number = len(self._waiting)
        future = self._waiting[number] = self._loop.create_future()
        self._pipe.send((number, method, args))
        return await future

    async def reset_prefix_cache(self) -> bool:
        return True

    async def progress(self) -> dict[str, int]:
        return {}

    def _receive(self) -> None:
        while True:
            number, answers = self._pipe.recv()
            self._loop.call_soon_threadsafe(self._waiting[number].set_result, answers)


async def switch(pipe: Connection, tell: Connection, seed: int) -> None:
    native, chance = FakeNative(), random.Random(seed)
    ranks = EngineRanks(PipedEngine(pipe, asyncio.get_running_loop()))
    agent = Agent("simulated", ranks, AgentInfo(native.version(), native.manifest(), FRAMEWORK))
    await agent.start()
    status = await agent.engine.ask("status")
    apart = len({(rank["epoch"], *sorted(rank["choice"].items())) for rank in status}) - 1
    tell.send(("started", agent.restored.outcome, apart))
    # What the last one was killed under is barred until somebody lifts that.
    await agent.ask("reset", {})
    while True:
        op = chance.choice(("rms_norm", "silu_and_mul"))
        outcome = await agent.ask("use", {"changes": [{"op": op, "impl": chance.choice(IMPLS)}]})
        tell.send(("switched", outcome["epoch"], 0))


def main(pipe: Connection, tell: Connection, seed: int) -> None:
    asyncio.run(switch(pipe, tell, seed))
