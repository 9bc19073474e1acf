"""Grouped products of FP8 codes with a scale per tensor, or per token and channel, in numpy."""

import numpy as np
from common.ref_groups import fill_groups, poison, products


def inputs(case, rng, make):
    args = fill_groups(case, rng, make())
    for name in ("input_scale", "weight_scale"):
        args[name][...] = rng.uniform(0.02, 0.2, args[name].shape)
    poison(args, case["R"])
    return args


def ref(
    out, input, input_scale, weight, weight_scale, expert_first_row, masked_m, row_indices, plan, batch_invariant
):  # fmt: skip
    x = input.astype(np.float64) * input_scale.astype(np.float64)[:, None]
    w = weight.astype(np.float64) * weight_scale.astype(np.float64)[:, :, None]
    return {"out": products(out, x, w, expert_first_row, masked_m, row_indices)}
