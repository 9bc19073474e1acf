"""The best experts of each token, or those of a table, with their weights, in numpy; and inputs that try it."""

import numpy as np
from common import ref_fill
from common.ref_routing import best, scores_of


def ref(
    topk_weights, topk_ids, gating_output, e_score_correction_bias, input_tokens, hash_indices_table, num_expert_group,
    topk_group, use_sigmoid, renormalize, routed_scaling_factor, use_sqrt_softplus,
):  # fmt: skip
    bias, k = e_score_correction_bias, topk_ids.shape[1]
    scores = scores_of(gating_output.astype(np.float64), use_sigmoid, use_sqrt_softplus)
    if hash_indices_table is None:
        choice = scores if bias is None else scores + bias.astype(np.float64)
        ids = best(choice, k, num_expert_group, topk_group, bias is not None)
    else:
        ids = hash_indices_table[input_tokens]
    weights = np.take_along_axis(scores, ids, -1)
    weights = weights / (weights.sum(-1, keepdims=True) + 1e-20) if renormalize else weights
    return {"topk_weights": weights * routed_scaling_factor, "topk_ids": ids}


def inputs(case, rng, make):
    """With `ties` logits and bias take few values, `masked`: a bias of -inf shuts out most, `nan`: in two tokens."""
    arrays = ref_fill.fill(case, make(), "gating_output")
    if case.get("ties"):
        arrays["gating_output"][:] = rng.integers(-1, 2, arrays["gating_output"].shape)
        arrays["e_score_correction_bias"][:] = rng.integers(0, 2, arrays["e_score_correction_bias"].shape)
    if case.get("masked"):
        arrays["e_score_correction_bias"][rng.permutation(case["E"])[7:]] = -np.inf
    if case.get("nan"):
        arrays["gating_output"][0], arrays["gating_output"][1, ::11] = np.nan, np.nan
    if arrays["hash_indices_table"] is not None:
        first = rng.integers(0, case["E"], case["V"])
        arrays["hash_indices_table"][...] = (first[:, None] + np.arange(case["K"])) % case["E"]
    return arrays
