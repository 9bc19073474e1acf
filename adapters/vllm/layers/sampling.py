"""Greedy and Gumbel sampling: the two `_C` kernels that vLLM's CPU sampler calls."""

from __future__ import annotations

import torch

SCHEMAS = {
    "greedy_argmax": "greedy_argmax(Tensor logits) -> Tensor",
    "fused_gumbel_argmax": "fused_gumbel_argmax(Tensor logits, Tensor seeds) -> Tensor",
}


def greedy_argmax(logits: torch.Tensor) -> torch.Tensor:
    """logits [B, V] -> token ids [B] int64; ties go to the lower index."""
    token_ids = torch.empty(logits.shape[0], dtype=torch.int64, device=logits.device)
    torch.ops.opswap.greedy_sample(token_ids, logits)
    return token_ids


def fused_gumbel_argmax(logits: torch.Tensor, seeds: torch.Tensor) -> torch.Tensor:
    """logits [B, V] and seeds [B] int64 -> one draw per row from softmax(logits)."""
    token_ids = torch.empty(logits.shape[0], dtype=torch.int64, device=logits.device)
    torch.ops.opswap.gumbel_sample(token_ids, logits, seeds)
    return token_ids


KERNELS = {"greedy_argmax": greedy_argmax, "fused_gumbel_argmax": fused_gumbel_argmax}
