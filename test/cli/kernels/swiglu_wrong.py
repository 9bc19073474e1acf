"""A kernel of `silu_and_mul` that forgets the second factor: wrong on every call."""

import torch


def silu_and_mul(out, input):
    gate, _ = input.float().chunk(2, dim=-1)
    out.copy_(torch.nn.functional.silu(gate))
