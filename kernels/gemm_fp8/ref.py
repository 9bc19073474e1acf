"""Products with FP8 weights that have one scale or one per row, in numpy; and inputs that try it."""

import numpy as np


def inputs(case, rng, make):
    """Positive scales for which out is about as large as 1, one for each row where the case says nothing; a scale of
    the input only where it is codes."""
    args = make(S=case.get("S", case["M"]), V=case.get("V", case["N"]))
    for name in ("input_scale", "weight_scale"):
        args[name][...] = rng.uniform(0.5, 1.5, args[name].shape) / max(case["K"], 1) ** 0.25
    if args["input"].dtype.itemsize > 1:
        args["input_scale"] = None
    if case.get("fill") == "bits":
        codes = np.arange(args["weight"].size).reshape(args["weight"].shape) % 254
        args["weight"].view(np.uint8)[...] = codes + (codes > 126)  # all but the two NaN
        args["weight_scale"] /= 64
    if case.get("fill") == "nan":
        args["weight"][-1, -1] = args["input"][0, 0] = np.nan
    return args


def ref(out, input, input_scale, weight, weight_scale, bias, batch_invariant):
    result = input.astype(np.float64) @ weight.astype(np.float64).T * weight_scale.astype(np.float64)
    if input_scale is not None:
        result = result * input_scale.astype(np.float64)[:, None]
    return {"out": result if bias is None else result + bias.astype(np.float64)}
