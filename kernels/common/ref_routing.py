"""How experts are scored and the best of them chosen: shared by the rooms that route."""

import numpy as np


def scores_of(x, use_sigmoid, use_sqrt_softplus):
    """In float64: sigmoid, sqrt(log(1 + e^x)), or a softmax over the experts."""
    if use_sigmoid:
        return 1 / (1 + np.exp(-x))
    if use_sqrt_softplus:
        with np.errstate(invalid="ignore"):  # of NaN
            return np.sqrt(np.logaddexp(0, x))
    scores = np.exp(x - x.max(-1, initial=-np.inf, keepdims=True))
    return scores / scores.sum(-1, keepdims=True)


def best(choice, k, num_expert_group, topk_group, two):
    """The k best of the best groups; a group counts by the sum of its two best, or by its best. NaN is largest."""
    choice = np.where(np.isnan(choice), np.inf, choice)
    groups = np.sort(choice.reshape(len(choice), num_expert_group, choice.shape[1] // num_expert_group))
    group_scores = groups[..., -2 if two else -1 :].sum(-1)
    best_groups = np.argsort(-group_scores, axis=-1, kind="stable")[:, :topk_group]
    left_out = np.ones(group_scores.shape, bool)
    np.put_along_axis(left_out, best_groups, False, axis=-1)
    left_out = np.repeat(left_out, groups.shape[-1], axis=-1)
    return np.lexsort((-choice, left_out), axis=-1)[:, :k]
