"""vLLM's entry point `vllm.general_plugins`: called once in the API server, the engine core and every worker.

vLLM swallows an error at import, but not one from the function below: nothing of vLLM's is imported before it.
"""

from __future__ import annotations

from opswap.adapters.common import framework
from opswap.adapters.common.plugin import activate
from opswap.adapters.vllm.adapter import ADAPTER
from opswap.adapters.vllm.starting import claim_before_load


def register() -> None:
    """Registers the ops with torch and installs the seams, and has a server take its name before it loads a model.

    Safe to call again; raises when opswap cannot work here.
    """
    activate(ADAPTER)
    claim_before_load()


def register_framework(ops: list[str]) -> None:
    """The entry point of the group opswap.variants: vLLM's own kernels for `ops`, in a process without an engine."""
    framework.register(ADAPTER, ops)
