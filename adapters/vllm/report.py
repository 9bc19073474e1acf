"""What a vLLM rank reports beyond what every rank does: its layers' kernels, and what was compiled."""

from __future__ import annotations

from collections import Counter
from typing import Any

from opswap.adapters.common import report
from opswap.adapters.vllm.adapter import ADAPTER


def of_worker(worker: Any) -> dict[str, Any]:
    """Plugin record, library version, counters and compilation settings of one rank."""
    compilation = worker.vllm_config.compilation_config
    return {
        **report.of_rank(ADAPTER, worker.rank),
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
