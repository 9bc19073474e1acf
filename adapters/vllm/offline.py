"""An agent for an offline `vllm.LLM` object."""

from __future__ import annotations

from typing import Any

from opswap.adapters.common.agent import make_agent
from opswap.adapters.common.offline import Attached, GuestThread, SharedObject, Turnstile
from opswap.adapters.common.prefix_cache import Progress
from opswap.adapters.common.ranks import EngineRanks
from opswap.adapters.vllm import doctor
from opswap.adapters.vllm.adapter import ADAPTER
from opswap.adapters.vllm.agent import progress_of


class OfflineEngine:
    """The engine as EngineRanks wants it, over vLLM's engine core."""

    def __init__(self, engine: Any, turnstile: Turnstile) -> None:
        self._engine = engine
        self._core = engine.engine_core
        self._guest = GuestThread(turnstile)

    async def broadcast(self, method: str, args: tuple[Any, ...]) -> list[dict[str, Any]]:
        return await self._guest.run(self._core.collective_rpc, f"opswap_{method}", None, args)

    async def reset_prefix_cache(self) -> bool:
        return await self._guest.run(self._core.reset_prefix_cache, True)

    async def progress(self) -> Progress:
        return progress_of(self._engine)


def attach(llm: Any, name: str) -> Attached:
    """Starts an agent for an offline LLM object.

    Args:
        llm: a `vllm.LLM` made with `worker_extension_cls="opswap.adapters.vllm.worker.WorkerExtension"`.
        name: what `opswap --engine NAME` will call it.

    Raises:
        IpcError: OPSWAP_E_ENGINE_TAKEN when an engine of this name is running.
    """
    engine, turnstile = llm.llm_engine, Turnstile()
    core = engine.engine_core
    ranks = EngineRanks(OfflineEngine(engine, turnstile))
    agent = make_agent(ADAPTER, name, ranks, str(engine.model_config.model), doctor.engine_checks)
    shared = SharedObject(core, turnstile)
    return Attached(agent, lambda: setattr(engine, "engine_core", shared), lambda: setattr(engine, "engine_core", core))
