"""What layer_norm means, in numpy: layer norm of each row; and inputs that try it."""

import numpy as np
from common import ref_fill


def inputs(case, _rng, make):
    args = ref_fill.fill(case, make(), "input")
    args["input"] += np.asarray(case.get("mean", 0), args["input"].dtype)
    return args


def ref(out, input, weight, bias, epsilon):
    x = input.astype(np.float64)
    with np.errstate(invalid="ignore"):
        centred = x - np.mean(x, axis=-1, keepdims=True)
    normed = centred / np.sqrt(np.mean(centred * centred, axis=-1, keepdims=True) + epsilon)
    scaled = normed * weight.astype(np.float64)
    return {"out": scaled if bias is None else scaled + bias.astype(np.float64)}
