"""What rms_norm_quant_fp8 means, in numpy: the RMS norm of each row as FP8 codes with scales."""

import numpy as np
from common import ref_fp8

inputs = ref_fp8.inputs


def ref(out, scale, input, weight, epsilon, group_size, static_scale, mn_major):
    x = input.astype(np.float64)
    with np.errstate(invalid="ignore"):
        normed = x / np.sqrt(np.mean(x * x, axis=-1, keepdims=True) + epsilon) * weight.astype(np.float64)
    return ref_fp8.quantize(normed, 1, group_size, scale, static_scale, mn_major)
