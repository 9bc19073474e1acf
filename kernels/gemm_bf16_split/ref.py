"""Products with weights that are two in BF16, in numpy; and such a pair out of float32."""

import numpy as np


def split(weight, half, lo_scale):
    """The two parts of float32 weights."""
    hi = weight.astype(half)
    return hi, ((weight - hi.astype(np.float32)) / np.float32(lo_scale)).astype(half)


def inputs(case, rng, make):
    """Both parts of weights for which out is about as large as 1."""
    args = make()
    hi, lo = args["weight_hi"], args["weight_lo"]
    weight = (rng.standard_normal(hi.shape) / np.sqrt(max(case["K"], 1))).astype(np.float32)
    hi[...], lo[...] = split(weight, hi.dtype, args["lo_scale"])
    if case.get("fill") == "nan":
        hi[-1, -1] = args["input"][0, 0] = np.nan
    return args


def ref(out, input, weight_hi, weight_lo, bias, lo_scale, batch_invariant):
    weight = weight_hi.astype(np.float64) + lo_scale * weight_lo.astype(np.float64)
    result = input.astype(np.float64) @ weight.T
    return {"out": result if bias is None else result + bias.astype(np.float64)}
