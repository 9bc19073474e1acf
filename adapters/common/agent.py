"""The agent of an engine, made from its adapter: name, versions, ranks and the doctor's checks."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from opswap.adapters.common.adapter import Adapter
from opswap.adapters.common.checks import Check, Report
from opswap.adapters.common.ranks import EngineRanks
from opswap.adapters.common.state import PluginState
from opswap.ipc.agent import Agent
from opswap.ipc.claim import Claim
from opswap.ipc.engine import AgentInfo

NAME_ENV = "OPSWAP_ENGINE_NAME"
#: Judges the state of this process and the reports of the ranks; the last argument says whether the reset of the
#: prefix cache is pending.
Judge = Callable[[PluginState, list[Report], bool], list[Check]]


#: Names that this process has taken for engines that are still loading their model.
_claims: dict[str, Claim] = {}


@contextmanager
def claimed(name: str) -> Iterator[None]:
    """Holds the name of an engine while it loads its model, so that a second one is refused before it does, and
    `opswap status` shows this one as starting. `make_agent` takes it over.

    Raises:
        IpcError: OPSWAP_E_ENGINE_TAKEN when an engine of this name is running.
    """
    claim = _claims[name] = Claim("engine", name)
    try:
        yield
    finally:
        if _claims.pop(name, None):  # no agent took it over: the engine did not come so far
            claim.close()


def make_agent(
    adapter: Adapter,
    name: str,
    ranks: EngineRanks,
    model: str,
    judge: Judge,
    died: Callable[[], bool] = lambda: False,
    url: str | None = None,
) -> Agent:
    """An agent for one engine that serves `model`, over HTTP at `url` where that is given. `died` says whether an
    engine in other processes ended by itself."""
    import opswap

    async def checks() -> list[Check]:
        return judge(adapter.state, await ranks.reports(), ranks.cache_pending)

    framework = {"name": adapter.package, "version": adapter.state.engine_version, "model": model}
    if url is not None:
        framework["url"] = url
    info = AgentInfo(opswap.version(), opswap.manifest(), framework, checks, died)
    return Agent(name, ranks, info, _claims.pop(name, None))


def engine_name(adapter: Adapter, port: int | None) -> str:
    """OPSWAP_ENGINE_NAME, else PACKAGE-PORT: two servers on one machine differ in their port."""
    return os.environ.get(NAME_ENV) or f"{adapter.package}-{port or 'local'}"


def url_of(args: Any) -> str | None:
    """Where a server with these arguments answers, from this machine; None where that is no port, or encrypted.

    The names are those that vLLM has, and other servers that follow it."""
    port, host = getattr(args, "port", None), getattr(args, "host", None)
    if port is None or getattr(args, "uds", None) or getattr(args, "ssl_certfile", None):
        return None
    if host in (None, "", "0.0.0.0", "::"):
        host = "127.0.0.1"
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


async def stop_with_the_loop(agent: Agent) -> None:
    """Runs until it is cancelled, and ends the agent then: for engines that have no hook for their end."""
    try:
        await asyncio.Event().wait()
    finally:
        await agent.stop()
