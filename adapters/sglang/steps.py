"""Counts the steps: one forward of the model, and the sampling behind it."""

from __future__ import annotations

from typing import Any

from opswap.adapters.sglang import metrics
from opswap.adapters.sglang.adapter import ADAPTER

FORWARD = "sglang.srt.model_executor.model_runner.ModelRunner.forward"


def begin_step(runner: Any, *_args: Any, **_options: Any) -> None:
    """Before the forward; that of a draft model belongs to the step of its target."""
    from sglang.srt.runtime_context import get_parallel

    if runner.is_draft_worker:
        return
    rank = get_parallel().tp_rank
    ADAPTER.context.begin_step(rank)
    if counters := metrics.of_rank(rank):
        counters.look()


def install() -> None:
    from opswap.adapters.sglang.layers.hooks import before

    before(FORWARD, begin_step)
