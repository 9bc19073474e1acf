"""Several states of attention put together, in numpy; and inputs with empty ones."""

import numpy as np


def ref(out, lse, states, states_lse, other, other_lse):
    values, logs = states.astype(np.float64), states_lse.astype(np.float64)
    if other is not None:
        values = np.concatenate([values, other.astype(np.float64)[None]])
        logs = np.concatenate([logs, other_lse.astype(np.float64)[None]])
    empty = logs == -np.inf
    most = logs.max(0, initial=-np.inf)
    with np.errstate(invalid="ignore", divide="ignore"):
        weights = np.where(empty, 0, np.exp(logs - most))
        total = weights.sum(0)
        log = np.where(total == 0, -np.inf, most + np.log(total))
    parts = weights[..., None] * np.where(empty[..., None], 0, values)
    result = {"out": parts.sum(0) / np.where(total == 0, 1, total)[..., None]}
    return result if lse is None else {**result, "lse": log}


def inputs(case, rng, make):
    """With `empty` a third of the states is, their values NaN, and all of the last token's first head are."""
    arrays = make()
    if case.get("empty"):
        logs = arrays["states_lse"]
        logs[rng.random(logs.shape) < 1 / 3] = -np.inf
        logs[:, -1, 0] = -np.inf
        arrays["states"][logs == -np.inf] = np.nan
        if arrays["other"] is not None:
            arrays["other_lse"][-1, 0] = -np.inf
            arrays["other"][-1, 0] = np.nan
    return arrays
