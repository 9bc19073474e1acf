"""The op moe_permute, whose rows become FP8 codes with scales, in numpy; and inputs that try it."""

import numpy as np
from common import ref_fill
from common.ref_permute import order


def ref(permuted, scale, expert_first_row, row_of, input, topk_ids, alignment):
    """In float32, as the rule is stated: codes and scales are exact."""
    first, rows = order(topk_ids, len(expert_first_row) - 1, alignment)
    blocks = input.astype(np.float32).reshape(len(input), scale.shape[1], input.shape[1] // scale.shape[1])
    scales = np.maximum(np.abs(blocks).max(-1), np.float32(1e-4)) / np.float32(448)
    with np.errstate(all="ignore"):
        codes = np.clip(blocks / scales[..., None], -448, 448).astype(permuted.dtype).reshape(input.shape)
    out, out_scale, given = permuted.copy(), scale.copy(), rows >= 0
    tokens = np.nonzero(given)[0]
    out[rows[given]], out_scale[rows[given]] = codes[tokens], scales[tokens]
    return {"permuted": out, "scale": out_scale, "expert_first_row": first, "row_of": rows}


def inputs(case, rng, make):
    """With `tiny` one block of each row is below the floor of its amax, and another is all zeros."""
    arrays = ref_fill.fill(case, make(), "input")
    if case.get("tiny"):
        arrays["input"][:, :128] *= np.float32(1e-5).astype(arrays["input"].dtype)
        arrays["input"][::2, 128:] = 0
    return arrays
