"""What the sampling rooms share: NaN counts as -inf, and rows that try it."""

import numpy as np


def argmax(scores):
    """Index of the largest score of each row; where nothing is above -inf, 0."""
    return np.argmax(np.where(np.isnan(scores), -np.inf, scores), axis=-1)


def fill(case, logits):
    """With `nan`, by row: NaN alone; NaN and -inf; -inf alone; one number among NaN, behind the first; NaN in front of,
    beside and behind the largest."""
    if case.get("nan"):
        logits[0] = np.nan
        logits[1, ::2], logits[1, 1::2] = np.nan, -np.inf
        logits[2] = -np.inf
        logits[3], logits[3, -3] = np.nan, -1000
        logits[4, ::3], logits[4, -4] = np.nan, 60
