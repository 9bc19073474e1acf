"""The sum residual += input in place, then the RMS norm of the residual as FP8 codes with scales, in numpy."""

import numpy as np
from common import ref_fp8

inputs = ref_fp8.inputs


def ref(out, scale, input, residual, weight, epsilon, group_size, static_scale, mn_major):
    exact = input.astype(np.float64) + residual.astype(np.float64)
    x = exact.astype(residual.dtype).astype(np.float64)
    with np.errstate(invalid="ignore"):
        normed = x / np.sqrt(np.mean(x * x, axis=-1, keepdims=True) + epsilon) * weight.astype(np.float64)
    return {"residual": exact, **ref_fp8.quantize(normed, 1, group_size, scale, static_scale, mn_major)}
