"""The reset of an engine's prefix cache after a switch, so that no request mixes cached KV of old and new kernels."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

log = logging.getLogger("opswap.adapter")
RETRY_S = 0.5
RETRY_MAX_S = 10.0


class PrefixCacheReset:
    """`reset` answers whether the engine has done it; one that is busy is asked again until it has."""

    def __init__(self, reset: Callable[[], Awaitable[bool]]) -> None:
        self._reset = reset
        self._retry: asyncio.Task[None] | None = None

    @property
    def pending(self) -> bool:
        """Whether the cache may still hold blocks computed before the last switch."""
        return self._retry is not None and not self._retry.done()

    async def request(self) -> None:
        """Resets now, or as soon as the engine is free. A failure is not the switch's, which has happened already."""
        done = False
        try:
            done = await self._try()
        finally:  # also where the time limit of the switch ends the wait
            if not done and not self.pending:
                log.info("the prefix cache is reset as soon as the engine does it")
                self._retry = asyncio.create_task(self._reset_when_free())

    async def _reset_when_free(self) -> None:
        wait = RETRY_S
        while not await self._try():
            await asyncio.sleep(wait)
            wait = min(2 * wait, RETRY_MAX_S)  # an engine logs every refusal

    async def _try(self) -> bool:
        """A reset that fails is not done, so it stays pending and the doctor tells it."""
        try:
            return await self._reset()
        except Exception as error:  # whatever the engine raises, the cache still holds old blocks
            log.warning("the prefix cache was not reset: %s: %s", type(error).__name__, error)
            return False

    async def stop(self) -> None:
        """Gives up on a reset that still waits for the engine to be free."""
        if self._retry is not None:
            self._retry.cancel()
            await asyncio.gather(self._retry, return_exceptions=True)
