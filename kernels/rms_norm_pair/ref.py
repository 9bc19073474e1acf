"""What rms_norm_pair means, in numpy: the RMS norms of two tensors in one call; and inputs that try it."""

import numpy as np
from common import ref_fill


def inputs(case, _rng, make):
    args = ref_fill.fill(case, make(), "q", "kv")
    if case.get("fused"):
        row = np.concatenate([args["q"], args["kv"]], axis=-1)
        args["q"], args["kv"] = row[:, : case["Q"]], row[:, case["Q"] :]
    return args


def norm(input, weight, epsilon):
    x = input.astype(np.float64)
    with np.errstate(invalid="ignore"):
        mean_square = np.sum(x * x, axis=-1, keepdims=True) / max(x.shape[-1], 1)
        return x / np.sqrt(mean_square + epsilon) * weight.astype(np.float64)


def ref(q_out, kv_out, q, kv, q_weight, kv_weight, epsilon):
    return {"q_out": norm(q, q_weight, epsilon), "kv_out": norm(kv, kv_weight, epsilon)}
