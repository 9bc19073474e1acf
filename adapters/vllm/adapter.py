"""What this adapter says of itself to adapters/common."""

from __future__ import annotations

from opswap.adapters.common.adapter import Adapter
from opswap.adapters.vllm.probe import PROBE
from opswap.adapters.vllm.seams import TABLE

GENERAL, ENDPOINT = "vllm.general_plugins", "vllm.endpoint_plugins"


def on_cpu() -> bool:
    """Whether vLLM has chosen its CPU platform."""
    from vllm.platforms import current_platform

    return current_platform.is_cpu()


ADAPTER = Adapter(
    engine="vLLM",
    package="vllm",
    seams=TABLE,
    probe=PROBE,
    framework="opswap.adapters.vllm.framework",
    on_cpu=on_cpu,
    entry_points=(GENERAL, ENDPOINT),
    stale_compilation="if it has, a cached compilation may be stale: VLLM_DISABLE_COMPILE_CACHE=1",
)
