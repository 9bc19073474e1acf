"""Rows of tokens ordered by expert: shared by the rooms that expand them."""

import numpy as np


def order(ids, experts, alignment):
    """First row of each expert, and the row of each choice."""
    first, row_of = np.zeros(experts + 1, np.int64), np.full(ids.shape, -1)
    for e in range(experts):
        chosen = ids == e
        row_of[chosen] = first[e] + np.arange(chosen.sum())
        first[e + 1] = -(-(first[e] + chosen.sum()) // alignment) * alignment
    return first, row_of


def of_experts(per_expert, ids):
    """The row of each choice's expert in float32, or the only one there is."""
    return per_expert[np.where(ids < len(per_expert), ids, 0)].astype(np.float32)
