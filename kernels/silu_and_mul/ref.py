"""What silu_and_mul means, in numpy: silu(gate) * up; and inputs that try it."""

import numpy as np
from common import ref_fill


def inputs(case, _rng, make):
    return ref_fill.fill(case, make(), "input")


def ref(out, input):
    gate, up = np.split(input.astype(np.float64), 2, axis=-1)
    with np.errstate(all="ignore"):
        return {"out": gate / (1 + np.exp(-gate)) * up}
