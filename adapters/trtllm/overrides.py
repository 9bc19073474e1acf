"""TensorRT-LLM's operators that run ours: one override each, by the dispatch key of this machine, and the way back."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

import torch
from opswap.adapters.common.probe import AdapterRefused
from opswap.adapters.common.torch_library import Override
from opswap.adapters.trtllm.adapter import ADAPTER

NAMESPACE = "trtllm"
#: Importing it registers the operators.
OPERATORS = "tensorrt_llm._torch.custom_ops"
_active: dict[str, Override] = {}


def dispatch_key() -> str:
    return "CPU" if ADAPTER.on_cpu() else "CUDA"


def exists(op: str) -> bool:
    return hasattr(getattr(torch.ops, NAMESPACE), op)


def take_over(kernels: dict[str, Callable[..., Any]]) -> None:
    """Overrides operators by name. Raises AdapterRefused where this build has none, before any is taken over."""
    importlib.import_module(OPERATORS)
    lost = [f"{NAMESPACE}::{op}" for op in kernels if not exists(op)]
    if lost:
        raise AdapterRefused(
            f"opswap: expected the operators {', '.join(lost)}, which this process does not have: they come with "
            f"flashinfer; install it, or leave their seams to {ADAPTER.engine} with {ADAPTER.seams.skip_env}"
        )
    for op, kernel in kernels.items():
        if op not in _active:
            _active[op] = Override(f"{NAMESPACE}::{op}", dispatch_key(), kernel)


def active() -> list[str]:
    return sorted(_active)


def stock(op: str) -> Callable[..., Any]:
    """The stock kernel of an operator that was taken over."""
    return _active[op].stock


def restore() -> None:
    """All operators have their stock kernels again."""
    while _active:
        _active.popitem()[1].restore()
