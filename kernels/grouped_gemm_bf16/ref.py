"""Grouped products in 16 bits, in numpy: each group's rows times the weights of the group."""

import numpy as np
from common.ref_groups import fill_groups, poison, products


def inputs(case, rng, make):
    args = fill_groups(case, rng, make())
    poison(args, case["R"])
    return args


def ref(out, input, weight, expert_first_row, masked_m, row_indices, plan, batch_invariant):
    x, w = input.astype(np.float64), weight.astype(np.float64)
    return {"out": products(out, x, w, expert_first_row, masked_m, row_indices)}
