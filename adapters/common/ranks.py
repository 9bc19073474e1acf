"""The ranks of one engine as the agent wants them: `await call(method, *args)` on all, and `commit`.

The engine's part is a broadcast, which need not return anything. Where it returns the ranks' answers, as vLLM's does,
it waits for a step boundary with every call, so only what must be ordered with steps goes by it; the rest goes by a
direct line (opswap/ipc/direct_line.py). Where it returns None the ranks send their answers to a private socket of the
agent: see opswap/ipc/answers.py and rank.py; with `direct_line` the rest goes by that line there too.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from typing import Any, Protocol

from opswap.adapters.common.prefix_cache import CacheIsolation, Progress
from opswap.ipc.answers import AnswerCollector
from opswap.ipc.coordinator import all_answered, ask
from opswap.ipc.direct_line import OFF_THE_STEP, DirectLine
from opswap.ipc.engine import ASK_TIMEOUT_S

log = logging.getLogger("opswap.adapter")
WAITS = "all questions go by the engine's broadcast and wait for a step (a rank on another machine cannot open one)"
Answer = dict[str, Any]


class Engine(Protocol):
    """What an adapter supplies of its engine. Calls reach all ranks in one order, and no rank loses one."""

    async def broadcast(self, method: str, args: tuple[Any, ...]) -> list[Answer] | None:
        """Has every rank run a method of RankMethods; its answers, or None when they come by the private socket."""
        ...

    async def reset_prefix_cache(self) -> bool:
        """Has the engine forget all cached KV, that of running requests too, which compute it anew. Whether it did; an
        engine without such a cache answers true. What it starts before its first await is ordered as broadcasts are."""
        ...

    async def progress(self) -> Progress:
        """Output tokens so far, by id, of the requests that have one."""
        ...


class EngineRanks:
    """The RankGroup of an engine. `answering` is the number of ranks that answer by the private socket; 0 means that
    the engine's broadcast returns the answers. `direct_line` is for ranks that take broadcasts between steps."""

    def __init__(self, engine: Engine, answering: int = 0, direct_line: bool = False) -> None:
        self._engine = engine
        self._cache = CacheIsolation(engine.reset_prefix_cache, engine.progress)
        self._collector = AnswerCollector(answering) if answering else None
        self._line = DirectLine() if direct_line or not answering else None
        self._silent: list[int] = []

    @property
    def cache_pending(self) -> bool:
        """Whether the prefix cache may still hold blocks computed before the last switch."""
        return self._cache.pending

    @property
    def isolation(self) -> dict[str, Any] | None:
        """What became of the cached KV at the last switch."""
        return self._cache.last.report() if self._cache.last else None

    @property
    def silent(self) -> list[int]:
        """Ranks that had not answered when the last call was given up, where the answers come one by one."""
        return self._silent

    async def start(self, engine: str, counters: Counter[str]) -> None:
        if self._collector is not None:
            await self._collector.start(engine, counters)
        if self._line is not None:
            await self._open(self._line, engine)

    async def call(self, method: str, *args: Any) -> list[Answer]:
        if self._line is not None and self._line.is_open and method in OFF_THE_STEP:
            try:
                return await self._line.call(method, args)
            finally:
                self._silent = self._line.silent
        return await self._answers(method, args)

    async def commit(self, epoch: int, neutral: str | None) -> list[Answer]:
        """The commit, and right behind it, so that no step comes in between, the isolation of cached KV."""
        commit = asyncio.ensure_future(self._answers("commit", (epoch,)))
        if neutral is not None:
            answers = await commit
            self._cache.keep(epoch, neutral)
            return answers
        before = self._cache.last
        isolated = asyncio.ensure_future(self._cache.isolate(epoch))
        try:
            answers = await commit
            await isolated
            if not any(answer["ok"] for answer in answers):
                self._cache.last = before  # nothing was switched
        finally:  # also where the time limit of the switch ends the wait
            commit.cancel()
            isolated.cancel()
        return answers

    async def reports(self) -> list[Answer]:
        """The doctor's report of every rank; raises IpcError when one does not give it."""
        return all_answered(await ask(self, "report", ASK_TIMEOUT_S))

    async def stop(self) -> None:
        await self._cache.stop()
        if self._collector is not None:
            await self._collector.stop()
        if self._line is not None:
            await self._line.stop()

    async def _open(self, line: DirectLine, engine: str) -> None:
        line.bind(engine)
        ranks = all_answered(await ask(self, "listen", ASK_TIMEOUT_S, engine, line.token))
        try:
            await asyncio.wait_for(line.greeted_by(len(ranks)), ASK_TIMEOUT_S)
        except asyncio.TimeoutError:
            log.warning("not each of %d ranks has opened its direct line; until then %s", len(ranks), WAITS)

    async def _answers(self, method: str, args: tuple[Any, ...]) -> list[Answer]:
        if self._collector is None:
            self._silent = []
            return await self._engine.broadcast(method, args) or []
        try:
            with self._collector.expect(method, args) as (ticket, pending):
                await self._engine.broadcast(method, (list(ticket), *args))
                return await pending.answers()
        finally:
            self._silent = self._collector.silent
