"""The best experts of each token out of its best groups, or those of a table, with their weights, in numpy; and inputs
that try it."""

import numpy as np
from common import ref_fill


def scores_of(x, use_sigmoid, use_sqrt_softplus):
    if use_sigmoid:
        return 1 / (1 + np.exp(-x))
    if use_sqrt_softplus:
        with np.errstate(invalid="ignore"):  # of NaN
            return np.sqrt(np.logaddexp(0, x))
    scores = np.exp(x - x.max(-1, initial=-np.inf, keepdims=True))
    return scores / scores.sum(-1, keepdims=True)


def best(choice, k, num_expert_group, topk_group, two):
    """The k best of the best groups; a group counts by the sum of its two best, or by its best."""
    groups = np.sort(choice.reshape(len(choice), num_expert_group, choice.shape[1] // num_expert_group))
    group_scores = groups[..., -2 if two else -1 :].sum(-1)
    best_groups = np.argsort(-group_scores, axis=-1, kind="stable")[:, :topk_group]
    left_out = np.ones(group_scores.shape, bool)
    np.put_along_axis(left_out, best_groups, False, axis=-1)
    left_out = np.repeat(left_out, groups.shape[-1], axis=-1)
    return np.lexsort((-choice, left_out), axis=-1)[:, :k]


def ref(
    topk_weights, topk_ids, gating_output, e_score_correction_bias, input_tokens, hash_indices_table, num_expert_group,
    topk_group, use_sigmoid, renormalize, routed_scaling_factor, use_sqrt_softplus,
):  # fmt: skip
    bias, k = e_score_correction_bias, topk_ids.shape[1]
    scores = scores_of(gating_output.astype(np.float64), use_sigmoid, use_sqrt_softplus)
    if hash_indices_table is None:
        choice = scores if bias is None else scores + bias.astype(np.float64)
        choice = np.where(np.isnan(choice), np.inf, choice)
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
    table = arrays["hash_indices_table"]
    if table is not None:  # below E, and a row has each expert once where it can
        table[...] = rng.integers(0, case["E"], table.shape[:1])[:, None] + np.arange(case["K"])
        table %= case["E"]
    return arrays
