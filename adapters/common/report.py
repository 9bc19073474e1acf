"""What a rank's process knows about opswap in it: collected on the rank, judged by the doctor."""

from __future__ import annotations

import os
from typing import Any

from opswap.adapters.common.adapter import Adapter


def of_rank(adapter: Adapter, rank: int) -> dict[str, Any]:
    """Plugin record, library version and counters of one rank."""
    return {
        "rank": rank,
        "ok": True,
        "pid": os.getpid(),
        "step": adapter.context.step,
        "plugin": adapter.state.as_dict(),
        "trouble": adapter.state.trouble,
        "version": _version(),
        "calls": _calls(adapter),
    }


def _version() -> dict[str, Any]:
    try:
        import opswap

        return opswap.version()
    except Exception as error:  # the doctor reports whatever keeps the library from loading
        return {"error": f"{type(error).__name__}: {error}"}


def _calls(adapter: Adapter) -> dict[str, int]:
    """Calls per op over all implementations."""
    if not adapter.state.registered:
        return {}
    import opswap

    return {row["op"]: sum(impl["calls"] for impl in row["impls"]) for row in opswap.stats()["ops"]}
