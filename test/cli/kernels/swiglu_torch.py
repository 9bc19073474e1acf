"""A user's own kernel of `silu_and_mul`: plain torch, right in every dtype."""

import torch


def silu_and_mul(out, input):
    gate, up = input.float().chunk(2, dim=-1)
    out.copy_(torch.nn.functional.silu(gate) * up)
