"""An agent for an engine that is an object of this process, with no server process and no event loop of its own.

The agent lives on a thread. It reaches the engine only between two calls of the thread that generates: an engine's
offline client is not safe for two threads, so both pass a turnstile, at which the agent goes first.
"""

from __future__ import annotations

import asyncio
import atexit
import functools
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

from opswap.ipc.agent import Agent

TIMEOUT_S = 60.0


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


class SharedObject:
    """Stands in for the object through which an engine is called: every call passes the turnstile, all else is its."""

    def __init__(self, shared: Any, turnstile: Turnstile) -> None:
        self._shared = shared
        self._turnstile = turnstile

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._shared, name)
        if not callable(value):
            return value

        @functools.wraps(value)
        def call(*args: Any, **kwargs: Any) -> Any:
            with self._turnstile.owner():
                return value(*args, **kwargs)

        return call


class GuestThread:
    """Runs calls on one helper thread, as guests of the turnstile."""

    def __init__(self, turnstile: Turnstile) -> None:
        self._turnstile = turnstile
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="opswap-rpc")

    async def run(self, function: Callable[..., Any], *args: Any) -> Any:
        def as_guest() -> Any:
            with self._turnstile.guest():
                return function(*args)

        return await asyncio.get_running_loop().run_in_executor(self._thread, as_guest)


class Attached:
    """The running agent of one engine object; `stop()` gives its name up. Also a context manager.

    `hold` puts the stand-in into the engine's place, and `release` takes it out again.
    """

    def __init__(self, agent: Agent, hold: Callable[[], None], release: Callable[[], None]) -> None:
        self.agent = agent
        self._release = release
        hold()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="opswap-agent", daemon=True)
        self._thread.start()
        try:
            self.run(self.agent.start())
        except BaseException:
            self._detach()
            raise
        atexit.register(self.stop)

    def stop(self) -> None:
        """Ends the agent and takes its hands off the engine, also where the agent cannot be ended well. Idempotent."""
        if self._loop.is_closed():
            return
        atexit.unregister(self.stop)
        try:
            self.run(self.agent.stop())
        finally:
            self._detach()

    def run(self, coroutine: Any) -> Any:
        """Runs a coroutine on the agent's loop, from another thread; cancels it when it takes too long."""

        async def within_limit() -> Any:
            return await asyncio.wait_for(coroutine, TIMEOUT_S)

        return asyncio.run_coroutine_threadsafe(within_limit(), self._loop).result()

    def _detach(self) -> None:
        self._release()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def __enter__(self) -> Attached:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
