"""Attention: where it is put in differs between versions, so each way has a file of its own."""

from __future__ import annotations

import importlib

from opswap.adapters.trtllm.adapter import ADAPTER
from opswap.adapters.trtllm.probe import nearest

#: The file by the contract's table.
WAYS = {"1.2": "attention_class", "main": "attention_fmha"}


def install(context) -> None:
    table = nearest(ADAPTER.state.engine_version).table
    importlib.import_module(f"{__package__}.{WAYS[table]}").install(context)
