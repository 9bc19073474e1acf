"""A real agent over fake ranks, for tests of the command line that need an engine to talk to but no model.

python fake_engine.py NAME [--ranks N] [--unhealthy] [--deaf] [--starting] [--calls seen|idle] [--restart IMPL]

Prints "ready"; ends when its input is closed.
"""

from __future__ import annotations

import argparse
import asyncio
import sys

from fake_shadow import ShadowNative
from ipc_fakes import FakeRanks
from opswap.ipc import engine
from opswap.ipc.agent import Agent
from opswap.ipc.claim import Claim
from opswap.ipc.engine import AgentInfo

DEAF_S = 0.3


async def serve(name: str, size: int, unhealthy: bool, deaf: bool, calls: str, restart: str) -> None:
    ranks = FakeRanks(size)
    ranks.natives = [ShadowNative(calls, rank) for rank in range(size)]
    for native in ranks.natives:
        native.toggles = {restart: "restart"}
    ranks.make()
    if deaf:
        engine.ASK_TIMEOUT_S = DEAF_S
        ranks.delay = lambda _method: 3600.0
    native = ranks.natives[0]

    async def checks() -> list[dict[str, str]]:
        state = "fail" if unhealthy else "ok"
        return [{"name": "seams", "state": state, "message": "planted by the test", "remedy": "none, it is a test"}]

    framework = {"name": "fake", "version": "0", "model": "no model"}
    agent = Agent(name, ranks, AgentInfo(native.version(), native.manifest(), framework, checks))
    await agent.start()
    print("ready", flush=True)
    steps = asyncio.create_task(_step(ranks))
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    steps.cancel()
    await agent.stop()


async def _step(ranks: FakeRanks) -> None:
    while True:
        ranks.begin_step()
        await asyncio.sleep(0.02)


def start(name: str) -> None:
    """An engine that has its name and loads for as long as it is let."""
    claim = Claim("engine", name)
    print("ready", flush=True)
    sys.stdin.read()
    claim.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("name")
    parser.add_argument("--ranks", type=int, default=2)
    parser.add_argument("--unhealthy", action="store_true")
    parser.add_argument("--deaf", action="store_true", help="ranks that never answer")
    parser.add_argument("--starting", action="store_true", help="no agent yet")
    parser.add_argument("--calls", choices=("seen", "idle"), default="seen", help="what its shadows see")
    parser.add_argument("--restart", default="", help="an implementation that takes a restart")
    given = parser.parse_args()
    if given.starting:
        start(given.name)
    else:
        asyncio.run(serve(given.name, given.ranks, given.unhealthy, given.deaf, given.calls, given.restart))
