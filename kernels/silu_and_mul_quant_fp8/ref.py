"""What silu_and_mul_quant_fp8 means, in numpy: silu(gate) * up as FP8 codes with scales."""

import numpy as np
from common import ref_fp8

inputs = ref_fp8.inputs


def ref(out, scale, input, group_size, static_scale, mn_major):
    gate, up = np.split(input.astype(np.float64), 2, axis=-1)
    with np.errstate(all="ignore"):
        activated = gate / (1 + np.exp(-gate)) * up
    return ref_fp8.quantize(activated, 1, group_size, scale, static_scale, mn_major)
