"""Grouped products with FP8 weights that have a scale per 128 x 128, in numpy."""

import numpy as np
from common.ref_groups import fill_groups, poison, products

BLOCK = 128


def inputs(case, rng, make):
    """Positive scales of the right shapes; a scale of the input only where it is codes."""
    blocks = -(-case["K"] // BLOCK)
    s0, s1 = (blocks, case["T"]) if case.get("mn_major") else (case["T"], blocks)
    args = fill_groups(case, rng, make(S0=s0, S1=s1, B0=-(-case["N"] // BLOCK), B1=blocks))
    for name in ("input_scale", "weight_scale"):
        args[name][...] = rng.uniform(0.02, 0.2, args[name].shape)
    poison(args, case["R"])
    if args["input"].dtype.itemsize > 1:
        args["input_scale"] = None
    return args


def spread(scale, rows, columns, shape):
    """One scale for each element of the last two dimensions."""
    whole = np.repeat(np.repeat(scale.astype(np.float64), rows, -2), columns, -1)
    return whole[..., : shape[-2], : shape[-1]]


def ref(
    out, input, input_scale, weight, weight_scale, expert_first_row, masked_m, row_indices, plan, mn_major,
    batch_invariant,
):  # fmt: skip
    x, w = input.astype(np.float64), weight.astype(np.float64)
    if input_scale is not None:
        x = x * spread(input_scale.T if mn_major else input_scale, 1, BLOCK, x.shape)
    w = w * spread(weight_scale, BLOCK, BLOCK, w.shape)
    return {"out": products(out, x, w, expert_first_row, masked_m, row_indices)}
