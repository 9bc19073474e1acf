"""What an SGLang rank reports beyond what every rank does: layers that run SGLang's own code, hooks it left out."""

from __future__ import annotations

from collections import Counter
from typing import Any

from opswap.adapters.common import report
from opswap.adapters.sglang.adapter import ADAPTER


def of_model(rank: int, model: Any) -> dict[str, Any]:
    """Plugin record, library version, counters and layers of one rank; `model` is its torch module."""
    told = report.of_rank(ADAPTER, rank)
    if not ADAPTER.state.registered:
        return {**told, "kernels": {}, "layers": {}, "hooks": []}
    from opswap.adapters.sglang.layers.hooks import not_applied

    return {**told, "kernels": _kernels(model), "layers": _layers(model), "hooks": not_applied()}


def _kernels(model: Any) -> dict[str, int]:
    """Layers per kernel that SGLang chose for their FP8 weights."""
    methods = (getattr(layer, "quant_method", None) for layer in model.modules())
    chosen = (getattr(method, "w8a8_block_fp8_linear", None) for method in methods)
    return dict(Counter(getattr(kernel, "__name__", "partial") for kernel in chosen if kernel is not None))


def _layers(model: Any) -> dict[str, dict[str, int]]:
    """Of the classes that seams plug: how many layers run the op, and how many SGLang's own code."""
    from opswap.adapters.sglang.layers.fused_op import PLUGGED, runs_the_op

    counted: dict[str, Counter[str]] = {}
    for layer in model.modules():
        if isinstance(layer, tuple(PLUGGED)):
            kind = counted.setdefault(type(layer).__name__, Counter())
            kind["op" if runs_the_op(layer) else "own"] += 1
    return {name: dict(kind) for name, kind in counted.items()}
