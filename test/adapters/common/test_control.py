"""What every adapter's control path does: the reset of the prefix cache, and the turnstile of offline engines."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest
from opswap.adapters.common import prefix_cache, ranks
from opswap.adapters.common.offline import Turnstile


class BusyEngine:
    """Refuses to reset the prefix cache as long as it is told that requests run."""

    def __init__(self, refusals: int) -> None:
        self.refusals = refusals
        self.resets = 0

    async def broadcast(self, method, args):
        return [{"rank": 0, "ok": args != (13,), "method": method}]

    async def reset_prefix_cache(self) -> bool:
        self.refusals -= 1
        self.resets += self.refusals < 0
        return self.refusals < 0


@pytest.fixture(autouse=True)
def quick_retries(monkeypatch):
    monkeypatch.setattr(prefix_cache, "RETRY_S", 0.01)


def test_the_prefix_cache_is_reset_after_a_commit_even_when_it_is_busy_at_first():
    async def run() -> tuple[bool, bool, int]:
        engine = BusyEngine(refusals=3)
        group = ranks.EngineRanks(engine)
        await group.call("prepare", 1)
        assert engine.refusals == 3
        await group.call("commit", 1)
        pending = group.cache_pending
        await asyncio.sleep(0.1)
        return pending, group.cache_pending, engine.resets

    assert asyncio.run(run()) == (True, False, 1)


def test_a_refused_commit_leaves_the_prefix_cache_alone():
    async def run() -> int:
        engine = BusyEngine(refusals=0)
        await ranks.EngineRanks(engine).call("commit", 13)
        return engine.resets

    assert asyncio.run(run()) == 0


def test_the_agent_gets_through_a_busy_turnstile():
    turnstile = Turnstile()
    running, served = True, []

    def owner() -> None:
        while running:
            with turnstile.owner(), turnstile.owner():  # one engine call makes another
                time.sleep(0.001)

    thread = threading.Thread(target=owner)
    thread.start()
    for number in range(20):
        with turnstile.guest():
            served.append(number)
    running = False
    thread.join(10)
    assert served == list(range(20))
