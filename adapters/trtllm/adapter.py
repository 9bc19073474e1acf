"""What this adapter says of itself to adapters/common."""

from __future__ import annotations

from opswap.adapters.common.adapter import Adapter
from opswap.adapters.trtllm.probe import PACKAGE, PROBE
from opswap.adapters.trtllm.seams import TABLE


def on_cpu() -> bool:
    """TensorRT-LLM has no CPU platform; without a card only its operators' CPU keys can be taken over, as tests do."""
    import torch

    return not torch.cuda.is_available()


ADAPTER = Adapter(
    engine="TensorRT-LLM",
    package=PACKAGE,
    seams=TABLE,
    probe=PROBE,
    framework="opswap.adapters.trtllm.framework",
    on_cpu=on_cpu,
    entry_points=(),
)
