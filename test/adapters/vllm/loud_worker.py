"""A worker extension for tests: an implementation that visibly changes tokens, and planted mistakes."""

from __future__ import annotations

import time

import opswap
from opswap import torch_ops
from opswap.adapters.common.rank import rank_switch
from opswap.adapters.vllm.adapter import ADAPTER
from opswap.adapters.vllm.worker import WorkerExtension

LOUD = "loud"
_added: set[str] = set()
_planted: list[int] = []


def negated(out, x) -> None:
    """silu_and_mul with the wrong sign: no token survives it."""
    half = x.shape[-1] // 2
    out.copy_(-torch_silu(x[..., :half]) * x[..., half:])
    if _planted and rank_switch(ADAPTER).context.rank == 1:
        rank_switch(ADAPTER).commit(_planted.pop())


def torch_silu(x):
    import torch

    return torch.nn.functional.silu(x)


class LoudExtension(WorkerExtension):
    def opswap_test_add_loud(self) -> None:
        if "silu_and_mul" not in _added:
            _added.add("silu_and_mul")
            torch_ops.register_impl("silu_and_mul", LOUD, negated)

    def opswap_test_plant_skew(self, epoch: int) -> None:
        """Rank 1 will commit `epoch` in the middle of a step, behind everybody's back."""
        _planted.append(epoch)

    def opswap_test_sleep(self, seconds: float) -> None:
        """Holds the rank up, as a long step does."""
        time.sleep(seconds)

    def opswap_test_set_context(self, rank: int, step: int, epoch: int) -> None:
        opswap.set_context(rank, step, epoch)
