"""The ranks of one vLLM engine as opswap.ipc wants them: `await call(method, *args)` on all, in order."""

from __future__ import annotations

import asyncio
import logging
from typing import Any, Protocol

log = logging.getLogger("opswap.vllm")
RETRY_S = 0.5
RETRY_MAX_S = 10.0


class Engine(Protocol):
    """What is used of vLLM's EngineClient (AsyncLLM); an offline engine gets the same face in offline.py."""

    async def collective_rpc(self, method: str, timeout: float | None = None, args: tuple = ()) -> list[Any]: ...
    async def reset_prefix_cache(self) -> bool: ...


class EngineRanks:
    """RankGroup over `collective_rpc`.

    After a commit the prefix cache is reset, so that no request mixes cached KV of the old kernel with the new one.
    vLLM refuses that while requests run: it is then retried until it succeeds, and `cache_pending` says so.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._reset: asyncio.Task[None] | None = None

    @property
    def cache_pending(self) -> bool:
        """Whether the prefix cache may still hold blocks computed before the last switch."""
        return self._reset is not None and not self._reset.done()

    async def call(self, method: str, *args: Any) -> list[dict[str, Any]]:
        answers = await self._engine.collective_rpc(f"opswap_{method}", args=args)
        if method == "commit" and any(answer["ok"] for answer in answers):
            await self._reset_cache()
        return answers

    async def reports(self) -> list[dict[str, Any]]:
        """The doctor's report of every rank."""
        return await self._engine.collective_rpc("opswap_report")

    async def _reset_cache(self) -> None:
        if await self._engine.reset_prefix_cache() or self.cache_pending:
            return
        log.info("requests are running: the prefix cache is reset as soon as it is free")
        self._reset = asyncio.create_task(self._reset_when_free())

    async def _reset_when_free(self) -> None:
        wait = RETRY_S
        while not await self._engine.reset_prefix_cache():
            await asyncio.sleep(wait)
            wait = min(2 * wait, RETRY_MAX_S)  # vLLM logs every refusal

    async def stop(self) -> None:
        """Gives up on a reset that still waits for the engine to be free."""
        if self._reset is not None:
            self._reset.cancel()
            await asyncio.gather(self._reset, return_exceptions=True)
