"""What __OP__ means, in numpy."""

import numpy as np


def ref(out, input):
    return {"out": input.astype(np.float64)}
