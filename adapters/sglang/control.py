"""Where the parts of the live switch are hooked into SGLang's processes."""

from __future__ import annotations

import multiprocessing
import sys
from collections.abc import Callable
from typing import Any

from opswap.adapters.sglang import agent, replicas, scheduler

_SERVER = "sglang.srt.entrypoints.http_server"
_SCHEDULER = "sglang.srt.managers.scheduler"
_REPLICAS = "sglang.srt.managers.data_parallel_controller"
#: From these a server is started. Elsewhere its module is not imported for the sake of a hook: that takes a second.
_LAUNCHERS = (_SERVER, "sglang.launch_server", "sglang.cli.serve")


def _is_server() -> bool:
    main = getattr(sys.modules["__main__"], "__spec__", None)
    return getattr(main, "name", "") in _LAUNCHERS or any(name in sys.modules for name in _LAUNCHERS)


def wanted() -> dict[str, Callable[..., Any]]:
    """What is hooked in this process: the target and what goes round it."""
    if multiprocessing.parent_process() is not None:
        hooks = {
            f"{_SCHEDULER}.Scheduler.handle_rpc_request": scheduler.handle_rpc_request,
            f"{_REPLICAS}.DataParallelController.launch_tensor_parallel_group": replicas.launch,
        }
        # The detokenizer has neither, and is not to import them.
        return {target: hook for target, hook in hooks.items() if target.rsplit(".", 2)[0] in sys.modules}
    if _is_server():
        return {
            f"{_SERVER}.launch_server": agent.launch_server,
            f"{_SERVER}._setup_and_run_http_server": agent.serve,
        }
    return {}


def install() -> None:
    """Called by the plugin in each process."""
    from opswap.adapters.sglang.layers.hooks import around

    for target, hook in wanted().items():
        around(target, hook)
