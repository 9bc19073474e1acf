"""What the peers of the activations share: torch's function, alone or times the second half of each row."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from common.peer import Baseline, Case, Pair, Run, Values, size

Activation = Callable[[torch.Tensor], torch.Tensor]


def plain_pair(op: Any, function: Activation, case: Case, dtype: torch.dtype, *flags: bool) -> Pair:
    x = torch.randn(case["T"], case["I"]).to(dtype)
    out = torch.empty_like(x)
    return Pair(lambda: op(out, x, *flags), lambda: function(x), out, size(x, out))


def plain_baseline(function: Activation) -> Baseline:
    return Baseline(lambda v: lambda: function(v["input"]))


def gated_pair(op: Any, activation: Activation, case: Case, dtype: torch.dtype) -> Pair:
    x, out = torch.randn(case["T"], 2 * case["I"]).to(dtype), torch.empty(case["T"], case["I"], dtype=dtype)

    def theirs() -> Any:
        gate, up = x.chunk(2, -1)
        return activation(gate) * up

    return Pair(lambda: op(out, x), theirs, out, size(x, out))


def gated_baseline(activation: Activation) -> Baseline:
    def prepare(v: Values) -> Run:
        half = v["input"].shape[-1] // 2
        return lambda: activation(v["input"][..., :half]) * v["input"][..., half:]

    return Baseline(prepare)
