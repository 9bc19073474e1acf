"""Isolation of cached KV at a switch: what old kernels computed is forgotten, and running requests compute it anew."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass
from typing import Any

log = logging.getLogger("opswap.adapter")
RETRY_S = 0.5
RETRY_MAX_S = 10.0
SETTLE_S = 0.003
WATCH_S = 0.005
#: Output tokens so far, by id, of the requests that have one.
Progress = dict[str, int]


@dataclass
class Isolation:
    """`Isolation` of messages.json: what became of the cached KV at one switch."""

    epoch: int
    outcome: str
    reason: str = ""
    requests: int = 0
    recomputed_ms: float | None = None

    def report(self) -> dict[str, Any]:
        return asdict(self)


class CacheIsolation:
    """`reset` answers whether the engine has forgotten all cached KV, that of running requests too; one that has not is
    asked again until it has. `progress` tells how far the requests are."""

    def __init__(self, reset: Callable[[], Awaitable[bool]], progress: Callable[[], Awaitable[Progress]]) -> None:
        self._reset = reset
        self._progress = progress
        self._tasks: set[asyncio.Task[None]] = set()
        self._retry: asyncio.Task[None] | None = None
        self.last: Isolation | None = None

    @property
    def pending(self) -> bool:
        """Whether the cache may still hold blocks computed before the last switch."""
        return self.last is not None and self.last.outcome == "pending"

    async def isolate(self, epoch: int) -> None:
        """Resets now, or as soon as the engine does it. A failure is not the switch's, which has happened already."""
        told = self.last = Isolation(epoch, "pending")
        done = False
        try:
            done = await self._try(told)
        finally:  # also where the time limit of the switch ends the wait
            if not done and (self._retry is None or self._retry.done()):
                self._retry = self._keep(self._reset_when_it_goes())
        if done:
            self._keep(self._watch(told))

    def keep(self, epoch: int, reason: str) -> None:
        """A neutral switch: cached KV is as good as before, for `reason`."""
        self.last = Isolation(epoch, "neutral", reason, 0, 0.0)

    async def stop(self) -> None:
        """Gives up on what is still under way."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _watch(self, told: Isolation) -> None:
        """Until each request that ran at the switch has a token more, or has ended."""
        start = time.monotonic()
        # Tokens of the step before the commit are on their way: after a moment they are counted.
        await asyncio.sleep(SETTLE_S)
        before = await self._counts()
        waiting = set(before or ())
        while waiting:
            await asyncio.sleep(WATCH_S)
            now = await self._counts()
            if before is None or now is None:
                return
            waiting = {request for request in waiting if now.get(request, before[request] + 1) <= before[request]}
        told.recomputed_ms = None if before is None else 1e3 * (time.monotonic() - start)

    async def _counts(self) -> Progress | None:
        """How far the requests are; None where the engine does not tell, which is not the switch's failure."""
        try:
            return await self._progress()
        except Exception as error:  # whatever the engine raises
            log.info("how far the requests are is not known: %s", error)
            return None

    async def _reset_when_it_goes(self) -> None:
        wait = RETRY_S
        while self.last is not None and self.last.outcome == "pending":
            await asyncio.sleep(wait)
            if await self._try(self.last):
                await self._watch(self.last)
            wait = min(2 * wait, RETRY_MAX_S)  # an engine logs every refusal

    async def _try(self, told: Isolation) -> bool:
        """A reset that fails is not done, so it stays pending and the doctor tells it."""
        try:
            done = await self._reset()
        except Exception as error:  # whatever the engine raises, the cache still holds old blocks
            told.reason = f"the engine did not forget cached KV: {type(error).__name__}: {error}"
            log.warning("%s", told.reason)
            return False
        if done:
            told.outcome, told.reason, told.requests = "isolated", "", len(await self._counts() or {})
        else:
            told.reason = "the engine refused to forget cached KV; it is asked again until it does"
            log.info("%s", told.reason)
        return done

    def _keep(self, work: Any) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task
