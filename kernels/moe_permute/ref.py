import numpy as np


def order(ids, experts, alignment):
    """First row of each expert, and the row of each choice."""
    first, row_of = np.zeros(experts + 1, np.int64), np.full(ids.shape, -1)
    for e in range(experts):
        chosen = ids == e
        row_of[chosen] = first[e] + np.arange(chosen.sum())
        first[e + 1] = -(-(first[e] + chosen.sum()) // alignment) * alignment
    return first, row_of


def ref(permuted, expert_first_row, row_of, input, topk_ids, alignment):
    first, rows = order(topk_ids, len(expert_first_row) - 1, alignment)
    out, given = permuted.copy(), rows >= 0
    out[rows[given]] = input[np.nonzero(given)[0]]
    return {"permuted": out, "expert_first_row": first, "row_of": rows}
