"""opswap inside vLLM: entry points, seams and the worker extension.

Importing this package imports neither vLLM nor torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from opswap.adapters.common.offline import Attached

__all__ = ["attach"]


def attach(llm: object, name: str) -> Attached:
    """Gives an offline `vllm.LLM` object an agent of its own, so that `opswap use` reaches it; see `offline.attach`."""
    from opswap.adapters.vllm.offline import attach as attach_offline

    return attach_offline(llm, name)
