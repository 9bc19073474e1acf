"""A kernel of `silu_and_mul` that gives NaN on every call."""

import torch


def silu_and_mul(out, input):
    gate, up = input.float().chunk(2, dim=-1)
    out.copy_(torch.nn.functional.silu(gate) * up * float("nan"))
