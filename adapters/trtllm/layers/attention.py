"""Attention: where it is put in differs between versions, so each way has a file of its own.

What the ops cannot serve is refused: when the model is built, where that is known then, else in the step. Only where
the user lets the engine's own kernels serve (OPSWAP_TRTLLM_STOCK) does the engine's attention run, and is counted.
"""

from __future__ import annotations

import importlib
import os
from typing import NoReturn

from opswap.adapters.common.probe import AdapterRefused
from opswap.adapters.trtllm.adapter import ADAPTER
from opswap.adapters.trtllm.probe import STOCK, nearest

WAYS = {"1.2": "attention_class", "main": "attention_fmha"}


def refuse(reason: str) -> NoReturn:
    raise AdapterRefused(
        f"opswap: seam attention: paged_attention does not offer {reason}; {ADAPTER.seams.skip_env}=attention leaves "
        f"attention to {ADAPTER.engine}, and {STOCK}=1 does so where it has to"
    )


def stays(reason: str | None) -> bool:
    """Whether a layer or step stays with the engine's attention, which it may only where the user let it."""
    if reason is None:
        return False
    if os.environ.get(STOCK) != "1":
        refuse(reason)
    ADAPTER.state.bypass("attention", reason)
    return True


def install(context) -> None:
    table = nearest(ADAPTER.state.engine_version).table
    importlib.import_module(f"{__package__}.{WAYS[table]}").install(context)
