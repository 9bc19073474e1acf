"""Plans of attention: made once a step, for all layers of the same heads and window."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import opswap
import torch
from opswap.adapters.common.functional import PLAN_WORDS, attention_plan

OP, CARD = "attention_plan", "sm_90a"


class PlanOf(NamedTuple):
    """What layers have to agree in to share a plan."""

    num_heads: int
    num_kv_heads: int
    sliding_window: int


def made_here() -> bool:
    """Whether what runs the op takes tensors of a card; where nothing does, each call of attention makes its own."""
    report = opswap.why(OP)
    name = report.get("device_choice", report["active"])
    return any(i["name"] == name and (i["external"] or i.get("isa") == CARD) for i in report["impls"])


class StepPlans:
    """By kind of layer the memory of its plans, the same in each step: a graph keeps the address."""

    def __init__(
        self, kinds: Iterable[PlanOf], most_sequences: int, device: torch.device | str, batch_invariant: bool = False
    ) -> None:
        # On a CPU nothing reads a plan.
        kept = set(kinds) if torch.device(device).type == "cuda" else set()
        words = PLAN_WORDS + most_sequences
        self.memory = {kind: torch.empty(words, dtype=torch.int32, device=device) for kind in kept}
        self.batch_invariant = batch_invariant

    def made(self, batch: tuple[torch.Tensor, torch.Tensor], max_query_len: int) -> dict[PlanOf, torch.Tensor]:
        """Those of a step; `batch` is query_start_loc and seq_lens, `max_query_len` what paged_attention is told."""
        if not self.memory or not made_here():
            return {}
        return {
            kind: attention_plan(memory, batch, kind[:2], kind.sliding_window, max_query_len, self.batch_invariant)
            for kind, memory in self.memory.items()
        }
