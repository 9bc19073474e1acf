"""Greedy and Gumbel sampling: the two `_C` kernels that vLLM's CPU sampler calls."""

from __future__ import annotations

from opswap.adapters.common import functional
from opswap.adapters.common.torch_library import define_missing

KERNELS = {
    "greedy_argmax(Tensor logits) -> Tensor": functional.greedy_sample,
    "fused_gumbel_argmax(Tensor logits, Tensor seeds) -> Tensor": functional.gumbel_sample,
}


def install(_context) -> None:
    define_missing("_C", KERNELS)
