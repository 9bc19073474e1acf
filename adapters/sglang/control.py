"""Where the parts of the live switch are hooked into SGLang's processes."""

from __future__ import annotations

import importlib
import multiprocessing
import sys

from opswap.adapters.common.probe import AdapterRefused, Need
from opswap.adapters.sglang.adapter import ADAPTER

_SERVER = "sglang.srt.entrypoints.http_server"
_SCHEDULER = "sglang.srt.managers.scheduler"
_REPLICAS = "sglang.srt.managers.data_parallel_controller"
#: From these a server is started.
_LAUNCHERS = ("sglang.launch_server", "sglang.cli.serve")

#: Around each target, its hook: a function of this folder, imported where it is put in. Then what the hooks use.
HOOKS = {
    f"{_SERVER}.launch_server": "agent:launch_server",
    f"{_SERVER}._setup_and_run_http_server": "agent:serve",
    f"{_REPLICAS}.DataParallelController.launch_tensor_parallel_group": "replicas:launch",
    f"{_SCHEDULER}.Scheduler.handle_rpc_request": "scheduler:handle_rpc_request",
}
NEEDS: dict[str, tuple[Need, ...]] = {
    _SERVER: (
        Need(f"{_SERVER}:launch_server", ("server_args",)),
        Need(f"{_SERVER}:_setup_and_run_http_server", ("server_args", "tokenizer_manager", "port_args")),
    ),
    _REPLICAS: (Need(f"{_REPLICAS}:DataParallelController.launch_tensor_parallel_group", ("port_args", "dp_rank")),),
    _SCHEDULER: (
        Need(f"{_SCHEDULER}:Scheduler.handle_rpc_request", ("recv_req",)),
        Need(f"{_SCHEDULER}:Scheduler.pause_generation", ("recv_req",)),
        Need(f"{_SCHEDULER}:Scheduler.continue_generation", ("recv_req",)),
        Need(f"{_SCHEDULER}:Scheduler.flush_cache", ("empty_cache",)),
        Need("sglang.srt.managers.io_struct:RpcReqInput"),
    ),
}


def _about_to_serve() -> bool:
    """Whether this process was started to be a server, and has not come so far. Not so its children, which have the
    same main module."""
    main = getattr(sys.modules["__main__"], "__spec__", None)
    asked = getattr(main, "name", "") in _LAUNCHERS or any(name in sys.modules for name in _LAUNCHERS)
    return asked and multiprocessing.parent_process() is None


def modules() -> set[str]:
    """The hooked modules of this process. None is imported for the sake of a hook: the server's takes a second."""
    here = {name for name in NEEDS if name in sys.modules}
    return here | {_SERVER} if _about_to_serve() else here


def install() -> None:
    """Called by the plugin in each process. Raises AdapterRefused where SGLang lacks what a switch needs there."""
    from opswap.adapters.sglang.layers.hooks import around

    here = modules()
    if lost := [why for name in sorted(here) for need in NEEDS[name] if (why := need.missing())]:
        raise AdapterRefused(
            f"opswap: this SGLang lacks what a switch needs: {'; '.join(lost)}; {ADAPTER.probe.remedy}"
        )
    for target, where in HOOKS.items():
        if any(target.startswith(f"{name}.") for name in here):
            module, _, function = where.partition(":")
            around(target, getattr(importlib.import_module(f"{__package__}.{module}"), function))
