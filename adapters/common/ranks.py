"""The ranks of one engine as the agent wants them: `await call(method, *args)` on all, in order.

The engine's part is a broadcast, which need not return anything. Where it returns the ranks' answers, as vLLM's does
(they come with its own messages, so a second way back would only cost time), they are taken. Where it returns None
the ranks send them to a private socket of the agent: see opswap/ipc/answers.py and rank.py.
"""

from __future__ import annotations

from collections import Counter
from typing import Any, Protocol

from opswap.adapters.common.prefix_cache import PrefixCacheReset
from opswap.ipc.answers import AnswerCollector
from opswap.ipc.coordinator import all_answered, ask
from opswap.ipc.engine import ASK_TIMEOUT_S

Answer = dict[str, Any]


class Engine(Protocol):
    """What an adapter supplies of its engine. Calls reach all ranks in one order, and no rank loses one."""

    async def broadcast(self, method: str, args: tuple[Any, ...]) -> list[Answer] | None:
        """Has every rank run a method of RankMethods; its answers, or None when they come by the private socket."""
        ...

    async def reset_prefix_cache(self) -> bool:
        """Whether it was reset; an engine without such a cache answers true."""
        ...


class EngineRanks:
    """The RankGroup of an engine. `answering` is the number of ranks that answer by the private socket; 0 means that
    the engine's broadcast returns the answers."""

    def __init__(self, engine: Engine, answering: int = 0) -> None:
        self._engine = engine
        self._cache = PrefixCacheReset(engine.reset_prefix_cache)
        self._collector = AnswerCollector(answering) if answering else None

    @property
    def cache_pending(self) -> bool:
        """Whether the prefix cache may still hold blocks computed before the last switch."""
        return self._cache.pending

    async def start(self, engine: str, counters: Counter[str]) -> None:
        if self._collector is not None:
            await self._collector.start(engine, counters)

    async def call(self, method: str, *args: Any) -> list[Answer]:
        answers = await self._answers(method, args)
        if method == "commit" and any(answer["ok"] for answer in answers):
            await self._cache.request()
        return answers

    async def reports(self) -> list[Answer]:
        """The doctor's report of every rank; raises IpcError when one does not give it."""
        return all_answered(await ask(self, "report", ASK_TIMEOUT_S))

    async def stop(self) -> None:
        await self._cache.stop()
        if self._collector is not None:
            await self._collector.stop()

    async def _answers(self, method: str, args: tuple[Any, ...]) -> list[Answer]:
        if self._collector is None:
            return await self._engine.broadcast(method, args) or []
        with self._collector.expect(method, args) as (ticket, pending):
            await self._engine.broadcast(method, (list(ticket), *args))
            return await pending.answers()
