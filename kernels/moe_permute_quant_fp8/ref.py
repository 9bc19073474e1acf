"""moe_permute whose rows become FP8 codes with scales, in numpy; and inputs that try it."""

import numpy as np
from common import ref_fill
from common.ref_permute import of_experts, order


def ref(
    permuted, scale, expert_first_row, row_of, input, topk_ids, pre_quant_scale, static_scale, alignment, mn_major
):  # fmt: skip
    """In float32, as the rule is stated: codes and scales are exact."""
    first, rows = order(topk_ids, len(expert_first_row) - 1, alignment)
    given, out = rows >= 0, {"permuted": permuted.copy(), "expert_first_row": first, "row_of": rows}
    to, ids, x = rows[given], topk_ids[given], input.astype(np.float32)[np.nonzero(given)[0]]
    scales = permuted[:, :1] if scale is None else (scale.T if mn_major else scale).copy()
    with np.errstate(all="ignore"):
        x = x if pre_quant_scale is None else x * of_experts(pre_quant_scale, ids)
        blocks = x.reshape(len(x), scales.shape[1], x.shape[1] // scales.shape[1])
        by = np.maximum(np.abs(blocks).max(-1, initial=0), np.float32(1e-4)) / np.float32(448)
        by = by if static_scale is None else np.broadcast_to(of_experts(static_scale, ids)[:, None], by.shape)
        out["permuted"][to] = np.clip(blocks / by[..., None], -448, 448).astype(permuted.dtype).reshape(x.shape)
    if scale is None:
        return out
    scales[to] = by
    return {**out, "scale": scales.T if mn_major else scales}


def inputs(case, rng, make):
    """With `tiny` one block of each row is below the floor of its amax, and another is all zeros."""
    arrays = ref_fill.fill(case, make(), "input")
    if case.get("tiny"):
        arrays["input"][:, :128] *= np.float32(1e-5).astype(arrays["input"].dtype)
        arrays["input"][::2, 128:] = 0
    for name, most in (("pre_quant_scale", 2), ("static_scale", 0.01)):
        if arrays[name] is not None:
            arrays[name][...] = rng.uniform(most / 4, most, arrays[name].shape)
    return arrays
