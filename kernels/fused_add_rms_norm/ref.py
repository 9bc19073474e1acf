"""The sum residual += input, then the RMS norm of the residual, both in place, in numpy; and inputs that try it."""

import numpy as np
from common import ref_fill


def inputs(case, _rng, make):
    return ref_fill.fill(case, make(), "residual")


def ref(input, residual, weight, epsilon):
    exact = input.astype(np.float64) + residual.astype(np.float64)
    rounded = exact.astype(residual.dtype).astype(np.float64)
    mean_square = np.mean(rounded * rounded, axis=-1, keepdims=True)
    return {"residual": exact, "input": rounded / np.sqrt(mean_square + epsilon) * weight.astype(np.float64)}
