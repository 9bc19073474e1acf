"""Data-parallel replicas: each is an engine of its own, with its own agent and name, NAME-dpN.

SGLang has a process that starts the schedulers of all replicas and hands requests on to them. It knows the RPC socket
of each, so the agents live there.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from typing import Any

import zmq
from opswap.adapters.common.agent import claimed, engine_name
from opswap.adapters.common.offline import Attached, Turnstile
from opswap.adapters.sglang.adapter import ADAPTER
from opswap.adapters.sglang.carrier import agent_of, agents_are_off
from opswap.ipc.errors import IpcError

#: As long as the process.
_agents: list[Attached] = []


def name_of(args: Any, replica: int) -> str:
    return f"{engine_name(ADAPTER, args.port)}-dp{replica}"


def launch(original: Callable[..., Any], controller: Any, args: Any, ports: Any, *others: Any) -> Any:
    """Around DataParallelController.launch_tensor_parallel_group, which comes back when its schedulers are ready. It
    runs on a thread, whose exceptions nobody reads: a name that is taken ends the server, as SGLang's failures do."""
    replica = others[1]
    if replica is None or agents_are_off():
        return original(controller, args, ports, *others)
    try:
        with claimed(name_of(args, replica)):
            result = original(controller, args, ports, *others)
            _agents.append(_attach(args, ports, replica))
    except IpcError as error:
        print(f"opswap: {error.message} [{error.code}]\n  {error.remedy}", file=sys.stderr)
        os.kill(os.getppid(), signal.SIGQUIT)
        raise
    return result


def _attach(args: Any, ports: Any, replica: int) -> Attached:
    from sglang.srt.utils.network import get_zmq_socket

    socket = get_zmq_socket(zmq.Context.instance(), zmq.DEALER, ports.rpc_ipc_name, True)
    agent = agent_of(args, name_of(args, replica), socket, Turnstile())
    return Attached(agent, lambda: None, lambda: None)
