"""An agent for an offline `vllm.LLM` object, which has no server process and no event loop of its own.

The agent lives on a thread. It reaches the engine only between two calls of the thread that generates: vLLM's offline
client is not safe for two threads, so both pass a turnstile, at which the agent goes first.
"""

from __future__ import annotations

import asyncio
import atexit
import functools
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

from opswap.adapters.vllm.ranks import EngineRanks

START_TIMEOUT_S = 60.0


class Turnstile:
    """One thread at a time. A plain lock would starve the agent: the generating thread takes it again at once."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._inside: int | None = None
        self._depth = 0
        self._guests = 0

    @contextmanager
    def owner(self) -> Iterator[None]:
        """The generating thread; may enter again while inside (one engine call makes another)."""
        me = threading.get_ident()
        with self._changed:
            self._changed.wait_for(lambda: self._inside == me or (self._inside is None and not self._guests))
            self._enter(me)
        try:
            yield
        finally:
            self._leave()

    @contextmanager
    def guest(self) -> Iterator[None]:
        """The agent; waits only for the call that is under way."""
        with self._changed:
            self._guests += 1
            self._changed.wait_for(lambda: self._inside is None)
            self._guests -= 1
            self._enter(threading.get_ident())
        try:
            yield
        finally:
            self._leave()

    def _enter(self, thread: int) -> None:
        self._inside = thread
        self._depth += 1

    def _leave(self) -> None:
        with self._changed:
            self._depth -= 1
            if self._depth == 0:
                self._inside = None
                self._changed.notify_all()


class SharedCore:
    """Stands in for `llm.llm_engine.engine_core`: every call passes the turnstile, everything else is the core's."""

    def __init__(self, core: Any, turnstile: Turnstile) -> None:
        self._core = core
        self._turnstile = turnstile

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._core, name)
        if not callable(value):
            return value

        @functools.wraps(value)
        def call(*args: Any, **kwargs: Any) -> Any:
            with self._turnstile.owner():
                return value(*args, **kwargs)

        return call


class OfflineEngine:
    """The engine as EngineRanks wants it; calls run on one helper thread, as guests."""

    def __init__(self, core: Any, turnstile: Turnstile) -> None:
        self._core = core
        self._turnstile = turnstile
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="opswap-rpc")

    async def collective_rpc(self, method: str, timeout: float | None = None, args: tuple = ()) -> list[Any]:
        return await self._run(self._core.collective_rpc, method, timeout, args)

    async def reset_prefix_cache(self) -> bool:
        return await self._run(self._core.reset_prefix_cache)

    async def _run(self, function: Any, *args: Any) -> Any:
        def as_guest() -> Any:
            with self._turnstile.guest():
                return function(*args)

        return await asyncio.get_running_loop().run_in_executor(self._thread, as_guest)


class Attached:
    """The running agent of one LLM object; `stop()` gives its name up. Also a context manager."""

    def __init__(self, llm: Any, name: str) -> None:
        from opswap.adapters.vllm.agent import make_agent

        self._llm_engine = llm.llm_engine
        self._core = self._llm_engine.engine_core
        turnstile = Turnstile()
        self._ranks = EngineRanks(OfflineEngine(self._core, turnstile))
        self.agent = make_agent(name, self._ranks, str(self._llm_engine.model_config.model))
        self._llm_engine.engine_core = SharedCore(self._core, turnstile)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="opswap-agent", daemon=True)
        self._thread.start()
        try:
            self._await(self.agent.start())
        except BaseException:
            self._detach()
            raise
        atexit.register(self.stop)

    def stop(self) -> None:
        """Ends the agent and takes its hands off the engine. Idempotent."""
        if self._loop.is_closed():
            return
        atexit.unregister(self.stop)
        self._await(self.agent.stop())
        self._await(self._ranks.stop())
        self._detach()

    def _await(self, coroutine: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(START_TIMEOUT_S)

    def _detach(self) -> None:
        self._llm_engine.engine_core = self._core
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def __enter__(self) -> Attached:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def attach(llm: Any, name: str) -> Attached:
    """Starts an agent for an offline LLM object.

    Args:
        llm: a `vllm.LLM` made with `worker_extension_cls="opswap.adapters.vllm.worker.WorkerExtension"`.
        name: what `opswap --engine NAME` will call it.

    Raises:
        IpcError: OPSWAP_E_ENGINE_TAKEN when an engine of this name is running.
    """
    return Attached(llm, name)
