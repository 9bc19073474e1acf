"""What rms_norm means, in numpy: RMS norm of each row; and inputs that try it."""

import numpy as np
from common import ref_fill


def inputs(case, _rng, make):
    return ref_fill.fill(case, make(), "input")


def ref(out, input, weight, epsilon):
    x = input.astype(np.float64)
    mean_square = np.mean(x * x, axis=-1, keepdims=True)
    return {"out": x / np.sqrt(mean_square + epsilon) * weight.astype(np.float64)}
