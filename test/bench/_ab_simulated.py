"""Rows of `ab` with simulated ranks: steps that mix epochs, in many switches and when agents are killed."""

from __future__ import annotations

import asyncio
import contextlib
import multiprocessing
import os
import random
import signal
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import _simulated_agent
from _simulated_ranks import Answer, FakeNative, World
from opswap.adapters.common.ranks import EngineRanks
from opswap.ipc.coordinator import Coordinator

TIMEOUT_S, START_S = 30.0, 60.0
#: An agent lives for so long after its start, by chance: about as long as a few switches.
LIFE_S = 0.12


@contextmanager
def runtime_folder() -> Iterator[None]:
    with tempfile.TemporaryDirectory(prefix="oa", dir="/tmp", ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o700)
        os.environ["OPSWAP_RUNTIME_DIR"] = folder
        yield


class NearEngine:
    """The ranks of a World in this process, as EngineRanks wants an engine."""

    def __init__(self, world: World, loop: asyncio.AbstractEventLoop) -> None:
        self._world, self._loop = world, loop

    async def broadcast(self, method: str, args: tuple[Any, ...]) -> list[Answer]:
        future: asyncio.Future[list[Answer]] = self._loop.create_future()
        self._world.broadcast(method, args, lambda answers: self._loop.call_soon_threadsafe(future.set_result, answers))
        return await future

    async def reset_prefix_cache(self) -> bool:
        return True

    async def progress(self) -> dict[str, int]:
        return {}


async def _switches(world: World, count: int) -> list[float]:
    group = EngineRanks(NearEngine(world, asyncio.get_running_loop()))
    await group.start("simulated", Counter())
    native = FakeNative()
    ranks = Coordinator(group, native.digest, native.versions)
    times = []
    for number in range(count):
        impl = ("ref", "cpu")[number % 2]
        began = time.perf_counter()
        await ranks.use({"rms_norm": impl, "silu_and_mul": impl}, TIMEOUT_S)
        times.append(1e3 * (time.perf_counter() - began))
    await group.stop()
    return sorted(times)


def mixed(switches: int, size: int = 64) -> dict[str, Any]:
    """Switches of `size` ranks that step meanwhile."""
    with runtime_folder():
        world = World(size)
        times = asyncio.run(_switches(world, switches))
        world.end()
    steps = world.ranks[0].context.step
    told = {"ranks": size, "switches": switches, "steps": steps, "epochs_that_ran": len(world.steps.epochs)}
    return {"mixed": world.steps.mixed, "reach": 0, **told, "ms_p50": times[switches // 2], "ms_most": times[-1]}


def _serve(world: World, pipe: Connection) -> None:
    """Hands one agent's broadcasts to the ranks, until the agent is gone."""

    def answer(number: int, answers: list[Answer]) -> None:
        with contextlib.suppress(OSError):  # nobody waits any more
            pipe.send((number, answers))

    while True:
        try:
            number, method, args = pipe.recv()
        except (EOFError, OSError):
            return
        world.broadcast(method, args, lambda answers, number=number: answer(number, answers))


class Told:
    """What the agents said before they were killed."""

    def __init__(self) -> None:
        self.restored: Counter[str] = Counter()
        self.apart = self.switches = 0

    def hear(self, tell: Connection, until: float) -> bool:
        """Takes what comes until a time; whether the agent is still there."""
        while (left := until - time.monotonic()) > 0:
            if not tell.poll(left):
                continue
            try:
                self.take(*tell.recv())
            except EOFError:
                return False
        return True

    def take(self, kind: str, value: Any, apart: int) -> None:
        self.apart += apart
        if kind == "started":
            self.restored[value] += 1
        else:
            self.switches += 1


def _one_life(context: Any, world: World, told: Told, seed: int) -> None:
    """Starts an agent, lets it switch for a moment, and kills it wherever it is."""
    (ours, theirs), (listen, tell) = context.Pipe(), context.Pipe()
    process = context.Process(target=_simulated_agent.main, args=(theirs, tell, seed))
    process.start()
    theirs.close(), tell.close()
    threading.Thread(target=_serve, args=(world, ours), daemon=True).start()
    if not listen.poll(START_S):
        raise SystemExit("an agent does not start")
    told.take(*listen.recv())
    if not told.hear(listen, time.monotonic() + random.Random(seed).uniform(0, LIFE_S)):
        raise SystemExit("an agent ended by itself")
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    listen.close()


def kills(count: int, size: int = 8) -> dict[str, Any]:
    """Agents killed by -9 at random points of their switches, each followed by one that finds what it left."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["_simulated_agent"])
    told = Told()
    with runtime_folder():
        world = World(size)
        for number in range(count):
            _one_life(context, world, told, number)
        world.end()
    rows = {"kills": count, "ranks": size, "switches": told.switches, "steps": world.ranks[0].context.step}
    return {
        "torn_steps": world.steps.mixed,
        "ranks_apart_at_restart": told.apart,
        "reach": 0,
        **rows,
        "restarts": told.restored,
    }
