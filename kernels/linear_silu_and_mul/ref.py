"""What linear_silu_and_mul means, in numpy, nothing between product and activation rounded."""

import numpy as np


def inputs(case, rng, make):
    """Gates about as large as 1, where silu bends; NaN in one row of the input and in one of up."""
    args = make()
    weight = args["weight"]
    weight[...] = weight.astype(np.float64) / np.sqrt(max(case["K"], 1))
    if case.get("fill") == "nan":
        weight[-1, -1] = args["input"][0, 0] = np.nan
    return args


def ref(out, input, weight, bias, batch_invariant):
    both = input.astype(np.float64) @ weight.astype(np.float64).T
    if bias is not None:
        both += bias.astype(np.float64)
    gate, up = np.split(both, 2, axis=1)
    return {"out": gate / (1 + np.exp(-gate)) * up}
