"""An engine of one rank without a framework: the real library behind a real agent, for tests of clients.

python test/ipc/real_engine.py NAME        serves until SIGTERM
"""

from __future__ import annotations

import asyncio
import signal
import sys
from collections import Counter
from typing import Any

import opswap
from opswap.ipc.agent import Agent
from opswap.ipc.engine import AgentInfo
from opswap.ipc.rank import RankSwitch


class Steps:
    """A context that begins a step before every broadcast, as an engine does between them."""

    def __init__(self) -> None:
        self.rank, self.step, self.epoch = 0, 0, 0

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch
        opswap.set_context(self.rank, self.step, epoch)


class OneRank:
    def __init__(self) -> None:
        self.steps = Steps()
        self.switch = RankSwitch(opswap, self.steps)
        self.isolation: dict[str, Any] | None = None
        self.silent: list[int] = []

    async def start(self, engine: str, counters: Counter[str]) -> None:
        """These ranks need no name."""

    async def stop(self) -> None:
        """Nothing to end."""

    async def call(self, method: str, *args: Any) -> list[dict[str, Any]]:
        self.steps.step += 1
        return [getattr(self.switch, method)(*args)]

    async def commit(self, epoch: int, _neutral: str | None) -> list[dict[str, Any]]:
        return await self.call("commit", epoch)  # there is no cache here


async def serve(name: str) -> None:
    framework = {"name": "none", "version": "0", "model": "none"}
    agent = Agent(name, OneRank(), AgentInfo(opswap.version(), opswap.manifest(), framework))
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    await agent.start()
    await stopped.wait()
    await agent.stop()


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1]))
