"""The weighted sum of each token's rows, back from its experts, in numpy; and inputs that try it."""

import numpy as np


def ref(out, rows, row_of, topk_weights, shared):
    result = np.zeros(out.shape) if shared is None else shared.astype(np.float64)
    for t, k in zip(*np.nonzero(row_of >= 0), strict=True):
        result[t] += topk_weights[t, k].astype(np.float64) * rows[row_of[t, k]].astype(np.float64)
    return {"out": result}


def inputs(case, rng, make):
    """With `skipped` no choice of the second token has a row, and weights without a row are NaN."""
    arrays = make()
    if case.get("skipped"):
        arrays["row_of"][1] = -1
        arrays["topk_weights"][arrays["row_of"] < 0] = np.nan
    return arrays
