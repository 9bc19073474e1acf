"""A kernel of `silu_and_mul` that is right for short steps and wrong for long prompts: the fault of a last tile.

Two short prompts that meet in one step are short still.
"""

import torch


def silu_and_mul(out, input):
    gate, up = input.float().chunk(2, dim=-1)
    out.copy_(torch.nn.functional.silu(gate) * up)
    if input.shape[0] > 128:
        out[input.shape[0] // 2 :] *= 1.25
