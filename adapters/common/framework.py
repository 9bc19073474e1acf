"""Registers the implementation `framework` of each op: the engine's own code, behind the same switch as ours."""

from __future__ import annotations

import importlib

from opswap.adapters.common.adapter import Adapter

IMPLEMENTATION = "framework"


def register(adapter: Adapter, ops: list[str]) -> None:
    """Registers `framework` for each of `ops`: a callable, or absent with the reason.

    The adapter's module holds KERNELS (a callable on the op's arguments by op, which writes the written ones) and
    ABSENT (the reason by op).
    """
    kernels = importlib.import_module(adapter.framework)
    register_impl = importlib.import_module(adapter.bindings).register_impl
    for op in ops:
        if op in kernels.KERNELS:
            register_impl(op, IMPLEMENTATION, kernels.KERNELS[op])
            continue
        reason = kernels.ABSENT.get(op) or adapter.seams.why_not_offered(op)
        reason = reason or f"this adapter knows no kernel of {adapter.engine}'s for it"
        register_impl(op, IMPLEMENTATION, None, absent_reason=reason)
