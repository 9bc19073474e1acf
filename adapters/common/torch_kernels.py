"""torch's own kernels for ops that an engine computes by them: entries of a `framework` module's KERNELS."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch.nn.functional as F


def linear(out, x, weight, bias=None, batch_invariant=False) -> None:
    if batch_invariant:
        raise NotImplementedError("opswap: torch promises no product that is the same in every batch; use ours")
    out.copy_(F.linear(x, weight, bias))


def greedy_sample(token_ids, logits) -> None:
    token_ids.copy_(logits.argmax(dim=-1))


def norms(native: Callable[..., Any]) -> dict[str, Callable[..., None]]:
    """The two norms from an engine's layer, `native(x, residual, weight, epsilon)`, which returns what it computes."""

    def rms_norm(out, x, weight, epsilon=1e-6) -> None:
        out.copy_(native(x, None, weight, epsilon))

    def fused_add_rms_norm(x, residual, weight, epsilon=1e-6) -> None:
        normed, summed = native(x, residual, weight, epsilon)
        residual.copy_(summed)
        x.copy_(normed)

    return {"rms_norm": rms_norm, "fused_add_rms_norm": fused_add_rms_norm}
