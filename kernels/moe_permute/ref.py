"""What moe_permute means, in numpy: rows of tokens, one per chosen expert, ordered by expert."""

import numpy as np
from common.ref_permute import order


def ref(permuted, expert_first_row, row_of, input, topk_ids, alignment):
    first, rows = order(topk_ids, len(expert_first_row) - 1, alignment)
    out, given = permuted.copy(), rows >= 0
    out[rows[given]] = input[np.nonzero(given)[0]]
    return {"permuted": out, "expert_first_row": first, "row_of": rows}
