"""What happens when TensorRT-LLM imports the package: seams, model classes and the checkpoint format are registered.

Nothing is raised here, because an import that fails ends the server before it can say whose fault it was, and in a
worker before its log is open. What went wrong is reported, and each model refuses to be built (models.py).
"""

from __future__ import annotations

import logging
import os
from typing import Any

from opswap.adapters.common.plugin import activate
from opswap.adapters.common.probe import AdapterRefused
from opswap.adapters.trtllm.adapter import ADAPTER

log = logging.getLogger("opswap.trtllm")
#: Implementations to start with: OP=IMPL, several with commas.
USE = "OPSWAP_TRTLLM_USE"


def load(namespace: dict[str, Any]) -> None:
    """Activates the adapter in this process and registers the model classes as globals of the module `namespace`."""
    _noted(lambda: activate(ADAPTER))
    _noted(_use)
    _noted(lambda: _register(namespace))
    if ADAPTER.state.error:
        log.error("opswap is not active in process %d: %s", os.getpid(), ADAPTER.state.error)


def _noted(step: Any) -> None:
    try:
        step()
    except Exception as error:  # whatever it is: nothing may leave an import, and the first cause is the one to tell
        ADAPTER.state.error = ADAPTER.state.error or f"{type(error).__name__}: {error}"


def _use() -> None:
    import opswap

    for choice in filter(None, os.environ.get(USE, "").split(",")):
        op, _, impl = choice.strip().partition("=")
        if not impl:
            raise AdapterRefused(f"opswap: {USE} has {choice!r}, expected OP=IMPL; `opswap why OP` lists both")
        opswap.use(op, impl)


def _register(namespace: dict[str, Any]) -> None:
    from opswap.adapters.trtllm import checkpoint, models, report

    registered = models.register(namespace)
    checkpoint.register(registered)
    models.on_built(report.counted)
