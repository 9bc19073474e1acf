"""What linear means, in numpy: input @ weight^T + bias."""

import numpy as np


def ref(out, input, weight, bias, batch_invariant):
    result = input.astype(np.float64) @ weight.astype(np.float64).T
    return {"out": result if bias is None else result + bias.astype(np.float64)}
