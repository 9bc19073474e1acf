"""Wrong kernels named `planted`, for tests of `opswap bisect`, from an engine's own ones.

Each one's output is off by a fifth, or by one position: the model goes on talking, in other words.
"""

from __future__ import annotations

from types import ModuleType

import torch
from opswap import torch_ops
from opswap.adapters.common import torch_kernels

OFF = 1.2


def plant(framework: ModuleType) -> None:
    """Registers them in this process; `framework` has the engine's own kernels."""

    def silu_and_mul(out, x) -> None:
        framework.silu_and_mul(out, x)
        out.mul_(OFF)

    def rms_norm(out, x, weight, epsilon=1e-6) -> None:
        framework.rms_norm(out, x, weight, epsilon)
        out.mul_(OFF)

    def rotary_embedding(positions, query, key, cos_sin_cache, is_neox=True) -> None:
        """Off by one position for the keys alone: equal shifts of both would cancel out."""
        framework.rotary_embedding(positions, query, None, cos_sin_cache, is_neox)
        if key is not None:
            framework.rotary_embedding(positions + 1, key, None, cos_sin_cache, is_neox)

    def linear(out, x, weight, bias=None, batch_invariant=False) -> None:
        """Wrong for one token alone, as a kernel for decoding may be."""
        torch_kernels.linear(out, x, weight, bias, batch_invariant)
        if x.shape[0] == 1:
            out.mul_(OFF)

    with torch.inference_mode(False):
        for kernel in (silu_and_mul, rms_norm, rotary_embedding, linear):
            torch_ops.register_impl(kernel.__name__, "planted", kernel)
