"""An agent for an `sglang.Engine` object."""

from __future__ import annotations

import functools
from typing import Any

from opswap.adapters.common.offline import Attached, Turnstile
from opswap.adapters.sglang.agent import why_not
from opswap.adapters.sglang.carrier import agent_of
from opswap.adapters.sglang.replicas import name_of
from opswap.ipc.errors import IpcError


def attach(engine: Any, name: str) -> Attached:
    """Starts an agent for an Engine object.

    Args:
        engine: a `sglang.Engine`, made in this process.
        name: what `opswap --engine NAME` will call it.

    Raises:
        IpcError: OPSWAP_E_ENGINE_TAKEN when an engine of this name is running, OPSWAP_E_TOGGLE when an engine with
            these arguments cannot be switched.
    """
    if reason := why_not(engine.server_args):
        raise IpcError("OPSWAP_E_TOGGLE", f"no live switch of this engine: {reason}")
    if engine.server_args.dp_size > 1:
        names = [name_of(engine.server_args, replica) for replica in range(engine.server_args.dp_size)]
        raise IpcError("OPSWAP_E_TOGGLE", f"its replicas have agents already: {', '.join(names)}")
    turnstile, own_rpc = Turnstile(), engine.collective_rpc

    @functools.wraps(own_rpc)
    def collective_rpc(*args: Any, **kwargs: Any) -> Any:
        with turnstile.owner():  # it uses the socket that the agent sends by
            return own_rpc(*args, **kwargs)

    agent = agent_of(engine.server_args, name, engine.send_to_rpc, turnstile)
    return Attached(
        agent, lambda: setattr(engine, "collective_rpc", collective_rpc), lambda: delattr(engine, "collective_rpc")
    )
