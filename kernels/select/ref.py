"""What select means, in numpy: rows of a tensor by number, -1 for zeros."""

import numpy as np


def ref(out, input, index):
    rows = np.zeros(out.shape, input.dtype)
    rows[index >= 0] = input[index[index >= 0]]
    return {"out": rows}
