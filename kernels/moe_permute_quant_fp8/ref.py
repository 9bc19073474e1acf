"""The op moe_permute, whose rows become FP8 codes with scales, in numpy; and inputs that try it."""

import numpy as np
from common import ref_fill
from common.ref_permute import order


def of_choices(per_expert, ids):
    """The row of each choice's expert, or the only one there is."""
    return per_expert[np.where(ids < len(per_expert), ids, 0)].astype(np.float32)


def ref(
    permuted, scale, expert_first_row, row_of, input, topk_ids, pre_quant_scale, static_scale, alignment, mn_major
):  # fmt: skip
    """In float32, as the rule is stated: codes and scales are exact."""
    first, rows = order(topk_ids, len(expert_first_row) - 1, alignment)
    tokens, given = np.nonzero(rows >= 0)[0], rows >= 0
    x, ids, to = input.astype(np.float32)[tokens], topk_ids[given], rows[given]
    with np.errstate(all="ignore"):
        x = x if pre_quant_scale is None else x * of_choices(pre_quant_scale, ids)
        scales = None if scale is None else (scale.T if mn_major else scale).copy()
        groups = 1 if scale is None else scales.shape[1]
        blocks = x.reshape(len(x), groups, x.shape[1] // groups)
        if static_scale is None:
            by = np.maximum(np.abs(blocks).max(-1, initial=0), np.float32(1e-4)) / np.float32(448)
        else:
            by = np.broadcast_to(of_choices(static_scale, ids)[:, None], (len(x), groups))
        codes = np.clip(blocks / by[..., None], -448, 448).astype(permuted.dtype).reshape(x.shape)
    out = permuted.copy()
    out[to] = codes
    result = {"permuted": out, "expert_first_row": first, "row_of": rows}
    if scale is None:
        return result
    scales[to] = by
    return {**result, "scale": scales.T if mn_major else scales}


def inputs(case, rng, make):
    """With `tiny` one block of each row is below the floor of its amax, and another is all zeros. Static scales and
    those of features are above 0, as calibration makes them."""
    arrays = ref_fill.fill(case, make(), "input")
    if case.get("tiny"):
        arrays["input"][:, :128] *= np.float32(1e-5).astype(arrays["input"].dtype)
        arrays["input"][::2, 128:] = 0
    for name, most in (("pre_quant_scale", 2), ("static_scale", 0.01)):
        if arrays[name] is not None:
            arrays[name][...] = rng.uniform(most / 4, most, arrays[name].shape)
    return arrays
