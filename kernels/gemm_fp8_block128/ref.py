"""Products with FP8 weights that have a scale per 128 x 128, in numpy; and inputs that try it."""

import numpy as np

BLOCK = 128


def inputs(case, rng, make):
    """Positive scales of the right shapes; a scale of the input only where it is codes."""
    groups = -(-case["K"] // BLOCK)
    s0, s1 = (groups, case["M"]) if case.get("mn_major") else (case["M"], groups)
    args = make(S0=s0, S1=s1, B0=-(-case["N"] // BLOCK), B1=groups)
    for name in ("input_scale", "weight_scale"):
        if args[name] is not None:
            args[name][...] = rng.uniform(0.02, 0.2, args[name].shape)
    if args["input"].dtype.itemsize > 1:
        args["input_scale"] = None
    if case.get("fill") == "bits":
        codes = np.arange(args["weight"].size).reshape(args["weight"].shape) % 254
        args["weight"].view(np.uint8)[...] = codes + (codes > 126)  # all but the two NaN
    if case.get("fill") == "nan":
        args["weight"][-1, -1] = args["input"][0, 0] = np.nan
    return args


def spread(scale, rows, columns, shape):
    """One scale for each element."""
    whole = np.repeat(np.repeat(scale.astype(np.float64), rows, 0), columns, 1)
    return whole[: shape[0], : shape[1]]


def ref(out, input, input_scale, weight, weight_scale, bias, mn_major, batch_invariant):
    x, w = input.astype(np.float64), weight.astype(np.float64)
    if input_scale is not None:
        x = x * spread(input_scale.T if mn_major else input_scale, 1, BLOCK, x.shape)
    result = x @ (w * spread(weight_scale, BLOCK, BLOCK, w.shape)).T
    return {"out": result if bias is None else result + bias.astype(np.float64)}
