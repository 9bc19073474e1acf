"""A kernel of `silu_and_mul` that is right for one token at a time and wrong for many: the fault of a tile's second half."""

import torch


def silu_and_mul(out, input):
    gate, up = input.float().chunk(2, dim=-1)
    out.copy_(torch.nn.functional.silu(gate) * up)
    if input.shape[0] > 8:
        out[input.shape[0] // 2 :] *= 1.25
