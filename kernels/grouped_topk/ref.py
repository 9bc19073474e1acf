"""The best experts of each token out of its best groups, with their weights, in numpy; and inputs that try it."""

import numpy as np


def ref(
    topk_weights, topk_ids, gating_output, e_score_correction_bias, num_expert_group, topk_group, use_sigmoid,
    renormalize, routed_scaling_factor,
):  # fmt: skip
    x, bias, (tokens, k) = gating_output.astype(np.float64), e_score_correction_bias, topk_ids.shape
    if use_sigmoid:
        scores = 1 / (1 + np.exp(-x))
    else:
        scores = np.exp(x - x.max(-1, initial=-np.inf, keepdims=True))
        scores /= scores.sum(-1, keepdims=True)
    choice = scores if bias is None else scores + bias.astype(np.float64)
    choice = np.where(np.isnan(choice), np.inf, choice)
    groups = np.sort(choice.reshape(tokens, num_expert_group, x.shape[1] // num_expert_group))
    group_scores = groups[..., -1 if bias is None else -2 :].sum(-1)
    best_groups = np.argsort(-group_scores, axis=-1, kind="stable")[:, :topk_group]
    left_out = np.ones(group_scores.shape, bool)
    np.put_along_axis(left_out, best_groups, False, axis=-1)
    left_out = np.repeat(left_out, groups.shape[-1], axis=-1)
    ids = np.lexsort((-choice, left_out), axis=-1)[:, :k]
    weights = np.take_along_axis(scores, ids, -1)
    weights = weights / (weights.sum(-1, keepdims=True) + 1e-20) if renormalize else weights
    return {"topk_weights": weights * routed_scaling_factor, "topk_ids": ids}


def inputs(case, rng, make):
    """With `ties` logits and bias take few values, `masked`: a bias of -inf shuts out most, `nan`: in two tokens."""
    arrays = make()
    if case.get("ties"):
        arrays["gating_output"][:] = rng.integers(-1, 2, arrays["gating_output"].shape)
        arrays["e_score_correction_bias"][:] = rng.integers(0, 2, arrays["e_score_correction_bias"].shape)
    if case.get("masked"):
        arrays["e_score_correction_bias"][rng.permutation(case["E"])[7:]] = -np.inf
    if case.get("nan"):
        arrays["gating_output"][0], arrays["gating_output"][1, ::11] = np.nan, np.nan
    return arrays
