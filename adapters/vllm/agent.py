"""vLLM's entry point `vllm.endpoint_plugins`: puts the agent into the API server process. It adds no HTTP route.

vLLM loads it only when VLLM_PLUGINS names it, because endpoint plugins widen what a server exposes.
"""

from __future__ import annotations

import asyncio
import logging
import os
from argparse import Namespace
from typing import Any

from opswap.adapters.vllm import doctor
from opswap.adapters.vllm.ranks import EngineRanks
from opswap.adapters.vllm.state import STATE

log = logging.getLogger("opswap.vllm")
NAME_ENV = "OPSWAP_ENGINE_NAME"


def make_agent(name: str, ranks: EngineRanks, model: str):
    """An agent for one engine, with vLLM's checks in its doctor."""
    import opswap
    from opswap.ipc.agent import Agent, AgentInfo

    async def checks() -> list[dict[str, str]]:
        return doctor.engine_checks(STATE, await ranks.reports(), ranks.cache_pending)

    framework = {"name": "vllm", "version": STATE.vllm_version, "model": model}
    return Agent(name, ranks, AgentInfo(opswap.version(), opswap.manifest(), framework, checks))


def engine_name(args: Namespace) -> str:
    """OPSWAP_ENGINE_NAME, else vllm-PORT: two servers on one machine differ in their port."""
    return os.environ.get(NAME_ENV) or f"vllm-{getattr(args, 'port', None) or 'local'}"


class EndpointPlugin:
    """What vLLM's `vllm.endpoint_plugins` protocol asks for."""

    name = "opswap"
    required_tasks = None

    def attach_router(self, app: Any) -> None:
        """No routes: the agent listens on a socket of its own, which only this user can open."""

    async def init_state(self, engine_client: Any, state: Any, args: Namespace) -> None:
        """Starts the agent on the server's event loop. Raises when the name is taken or the plugin is not active."""
        if engine_client is None:  # vLLM's render server has no engine
            return
        if getattr(args, "api_server_count", None) not in (None, 1):
            raise RuntimeError(
                f"opswap: expected one API server process, got --api-server-count {args.api_server_count}; "
                "the ranks take switches from one agent only"
            )
        ranks = EngineRanks(engine_client)
        agent = make_agent(engine_name(args), ranks, str(args.model))
        await agent.start()
        state.opswap_agent = agent
        # vLLM has no hook for the end of an endpoint plugin, but a loop that ends cancels its tasks.
        state.opswap_until_end = asyncio.create_task(_stop_with_the_loop(agent, ranks))
        log.info("opswap agent %s is listening", agent.name)


async def _stop_with_the_loop(agent: Any, ranks: EngineRanks) -> None:
    try:
        await asyncio.Event().wait()
    finally:
        await agent.stop()
        await ranks.stop()


def create() -> EndpointPlugin:
    """The factory that the entry point names."""
    return EndpointPlugin()
