"""Registers the implementation `framework` of each op: the engine's own code, behind the same switch as ours."""

from __future__ import annotations

import importlib
from collections.abc import Callable

from opswap.adapters.common.adapter import Adapter

IMPLEMENTATION = "framework"
Found = Callable[..., None] | str


def kernels_of(adapter: Adapter) -> dict[str, Found]:
    """Per op the engine's kernel on this machine, or the reason why there is none.

    The adapter's module holds KERNELS (a callable on the op's arguments by op, which writes the written ones) and
    ABSENT (the reason by op); where it has a function `here(on_cpu)`, that says what is otherwise on this machine.
    """
    module = importlib.import_module(adapter.framework)
    here = getattr(module, "here", None)
    return {**module.ABSENT, **module.KERNELS, **(here(adapter.on_cpu()) if here else {})}


def register(adapter: Adapter, ops: list[str]) -> None:
    """Registers `framework` for each of `ops`: a callable, or absent with the reason."""
    kernels = kernels_of(adapter)
    register_impl = importlib.import_module(adapter.bindings).register_impl
    for op in ops:
        found = kernels.get(op) or adapter.seams.why_not_offered(op)
        found = found or f"this adapter knows no kernel of {adapter.engine}'s for it"
        if isinstance(found, str):
            register_impl(op, IMPLEMENTATION, None, absent_reason=found)
        else:
            register_impl(op, IMPLEMENTATION, found)


def prefer(ops: list[str]) -> None:
    """Has the engine's own kernel run each of `ops` whose CUDA kernels lack evidence from a card like this one.

    For an engine on a CUDA device, in each of its processes: without evidence no CUDA kernel of the library runs unless
    it is named, and its CPU code refuses tensors of a device.
    """
    import opswap

    card = set(opswap.version()["device_status"].split())
    for op in ops:
        impls = opswap.why(op)["impls"]
        proven = any(i["usable"] and i.get("correct_on") and card & {*i.get("timed_on", ())} for i in impls)
        own = any(i["name"] == IMPLEMENTATION and i["usable"] for i in impls)
        if own and not proven:
            opswap.use(op, IMPLEMENTATION)
