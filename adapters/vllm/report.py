"""What a process knows about opswap in it; collected in the worker, judged by the doctor."""

from __future__ import annotations

import os
from collections import Counter
from typing import Any

from opswap.adapters.vllm.context import CONTEXT
from opswap.adapters.vllm.state import STATE, PluginState


def plugin_trouble(state: PluginState) -> str:
    """Why the plugin is not active in this process; empty when it is."""
    if state.error:
        return f"the plugin failed: {state.error}"
    if not state.registered:
        return "the plugin never ran in this process"
    return ""


def of_worker(worker: Any) -> dict[str, Any]:
    """Plugin record, library version, counters and compilation settings of one rank."""
    compilation = worker.vllm_config.compilation_config
    return {
        "rank": worker.rank,
        "pid": os.getpid(),
        "step": CONTEXT.step,
        "plugin": STATE.as_dict(),
        "trouble": plugin_trouble(STATE),
        "version": _version(),
        "calls": _calls(),
        "kernels": _kernels(worker.model_runner.model),
        "custom_ops": list(compilation.custom_ops),
        "enabled": dict(compilation.enabled_custom_ops),
        "disabled": dict(compilation.disabled_custom_ops),
        "compiled": getattr(compilation.mode, "name", str(compilation.mode)) != "NONE",
    }


def _kernels(model: Any) -> dict[str, int]:
    """Layers per kernel class that vLLM chose for their FP8 weights."""
    holders = (getattr(layer, name, None) for layer in model.modules() for name in ("quant_method", "scheme"))
    chosen = (getattr(holder, "fp8_linear", None) for holder in holders)
    return dict(Counter(type(kernel).__name__ for kernel in chosen if kernel is not None))


def _version() -> dict[str, Any]:
    try:
        import opswap

        return opswap.version()
    except Exception as error:  # the doctor reports whatever keeps the library from loading
        return {"error": f"{type(error).__name__}: {error}"}


def _calls() -> dict[str, int]:
    """Calls per op over all implementations."""
    if not STATE.registered:
        return {}
    import opswap

    return {row["op"]: sum(impl["calls"] for impl in row["impls"]) for row in opswap.stats()["ops"]}
