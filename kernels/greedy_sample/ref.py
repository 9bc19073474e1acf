"""What greedy_sample means, in numpy: the index of the largest logit of each row; and inputs that try it."""

import numpy as np
from common import ref_argmax


def ref(token_ids, logits):
    return {"token_ids": ref_argmax.argmax(logits.astype(np.float64))}


def inputs(case, rng, make):
    """Random rows; with `ties` the maximum stands twice, with `infinite` it is +inf among -inf."""
    arrays = make()
    logits = arrays["logits"]
    if case.get("ties"):
        logits[:, [11, 61]] = 9.0
    if case.get("infinite"):
        logits[:] = -np.inf
        logits[:, 17] = np.inf
    ref_argmax.fill(case, logits)
    return arrays
