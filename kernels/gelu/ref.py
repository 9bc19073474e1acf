"""What gelu means, in numpy: gelu by the error function or its tanh approximation; and inputs that try it."""

import math

import numpy as np
from common import ref_fill


def inputs(case, _rng, make):
    return ref_fill.fill(case, make(), "input")


def ref(out, input, tanh):
    x = input.astype(np.float64)
    with np.errstate(all="ignore"):
        if tanh:
            return {"out": 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))}
        erfc = np.vectorize(math.erfc, otypes=[np.float64])(-x / np.sqrt(2))
        return {"out": 0.5 * x * erfc}
