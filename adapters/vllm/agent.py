"""vLLM's entry point `vllm.endpoint_plugins`: puts the agent into the API server process. It adds no HTTP route.

vLLM loads it only when VLLM_PLUGINS names it, because endpoint plugins widen what a server exposes.
"""

from __future__ import annotations

import asyncio
import logging
from argparse import Namespace
from collections.abc import Callable
from typing import Any

from opswap.adapters.common.agent import engine_name, make_agent, stop_with_the_loop, url_of
from opswap.adapters.common.prefix_cache import Progress
from opswap.adapters.common.ranks import EngineRanks
from opswap.adapters.vllm import doctor
from opswap.adapters.vllm.adapter import ADAPTER

log = logging.getLogger("opswap.vllm")


class ServedEngine:
    """The engine as EngineRanks wants it, over vLLM's EngineClient (AsyncLLM)."""

    def __init__(self, client: Any) -> None:
        self._client = client

    async def broadcast(self, method: str, args: tuple[Any, ...]) -> list[dict[str, Any]]:
        return await self._client.collective_rpc(f"opswap_{method}", args=args)

    async def reset_prefix_cache(self) -> bool:
        return await self._client.reset_prefix_cache(reset_running_requests=True)

    async def progress(self) -> Progress:
        return progress_of(self._client)


def progress_of(client: Any) -> Progress:
    """Output tokens so far of the requests that AsyncLLM or LLMEngine waits for, where there is one."""
    states = list(client.output_processor.request_states.items())
    counted = {request: state.detokenizer.num_output_tokens() for request, state in states if state.detokenizer}
    return {request: count for request, count in counted.items() if count}


def watch_end(client: Any) -> Callable[[], bool]:
    """Whether the engine of an AsyncLLM died, or was asked to end. vLLM says of both that it has `errored`, so what
    counts is how it stood when the server, which was told to stop, called `shutdown`."""
    shutdown, asked = client.shutdown, []

    def asked_to_end(*args: Any, **kwargs: Any) -> Any:
        if not client.errored:
            asked.append(True)
        return shutdown(*args, **kwargs)

    client.shutdown = asked_to_end
    return lambda: client.errored and not asked


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
        ranks = EngineRanks(ServedEngine(engine_client))
        name = engine_name(ADAPTER, getattr(args, "port", None))
        died = watch_end(engine_client)
        agent = make_agent(ADAPTER, name, ranks, str(args.model), doctor.engine_checks, died, url_of(args))
        await agent.start()
        state.opswap_agent = agent
        # vLLM has no hook for the end of an endpoint plugin, but a loop that ends cancels its tasks.
        state.opswap_until_end = asyncio.create_task(stop_with_the_loop(agent))
        log.info("opswap agent %s is listening", agent.name)


def create() -> EndpointPlugin:
    """The factory that the entry point names."""
    return EndpointPlugin()
