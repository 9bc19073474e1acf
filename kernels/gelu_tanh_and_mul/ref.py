"""What gelu_tanh_and_mul means, in numpy: gelu(gate) * up, with the tanh approximation; and inputs that try it."""

import numpy as np
from common import ref_fill


def inputs(case, _rng, make):
    return ref_fill.fill(case, make(), "input")


def ref(out, input):
    gate, up = np.split(input.astype(np.float64), 2, axis=-1)
    inner = np.sqrt(2 / np.pi) * (gate + 0.044715 * gate**3)
    with np.errstate(all="ignore"):
        return {"out": 0.5 * gate * (1 + np.tanh(inner)) * up}
