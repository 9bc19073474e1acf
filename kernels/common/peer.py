"""What a room's peer.py is made of: pairs for the bench on a CPU, baselines for the suite on a GPU.

A peer.py has `cpu_pair(case, dtype) -> Pair`, or `GPU_BASELINES`, a list of `Baseline`, or both.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

Case = dict[str, Any]  # an entry of the list `bench` of op.json
Values = dict[str, Any]  # the op's arguments by name
Run = Callable[[], Any]
ops = torch.ops.opswap


@dataclass
class Pair:
    """The op's call and torch's, how to see that they agree, and what the op must at least move and compute."""

    ours: Run
    theirs: Run
    result: torch.Tensor | None = None  # what ours wrote; None where the sides cannot be compared
    bytes: int = 0
    flops: int = 0

    def check(self) -> None:
        if self.result is None:
            return
        self.ours()
        theirs = self.theirs()
        tolerance = {torch.float32: 1e-3, torch.float16: 2e-2, torch.bfloat16: 1e-1}.get(self.result.dtype, 0)
        scale = max(1.0, theirs.abs().max().item())
        torch.testing.assert_close(
            self.result.double(), theirs.double().view_as(self.result), rtol=tolerance, atol=tolerance * scale
        )


@dataclass(frozen=True)
class Baseline:
    """What a kernel is timed against on a GPU: a module's call on the op's own arguments."""

    prepare: Callable[[Values], Run]
    module: str = "torch"  # what `prepare` imports
    wheel: str = "torch"  # where the module comes from; also the baseline's name in tables and evidence


#: What codes of `quantised` have to be multiplied by, so that rows are as large as those of torch.randn.
UNIT = 1 / 100


def quantised(*shape: int) -> torch.Tensor:
    """e4m3 codes as quantisers leave them: the largest of a row is 448, so few are zero or subnormal."""
    x = torch.randn(*shape)
    return (x * (448 / x.abs().amax(-1, keepdim=True))).to(torch.float8_e4m3fn)


def size(*tensors: torch.Tensor) -> int:
    """Bytes of the tensors together."""
    return sum(t.numel() * t.element_size() for t in tensors)


def pair_of_codes(
    op: Callable[..., Any], case: Case, dtype: torch.dtype, scale: torch.Tensor, spread: torch.Tensor
) -> Pair:
    """A product with weights in e4m3 beside torch's with the same weights restored before; `spread` is `scale` in a
    shape that multiplies [N, K]."""
    m, n, k = case["M"], case["N"], case["K"]
    x, codes, out = torch.randn(m, k).to(dtype), quantised(n, k), torch.empty(m, n, dtype=dtype)
    restored = (codes.float() * spread).to(dtype)
    return Pair(
        lambda: op(out, x, None, codes, scale, None),
        lambda: torch.nn.functional.linear(x, restored),
        out,
        size(x, codes, scale, out),
        2 * m * n * k,
    )
