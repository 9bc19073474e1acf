"""The bounds of a latency comparison, written from the formulas with numpy, for a test of the TypeScript ones.

Reads {"series": [{"ratios", "candidate_first", "alpha", "warmup"}]} from its input, prints the bounds of each, or null.
A ratio is ln(candidate / control). docs/ab-verdicts.md has the formulas and their sources.
"""

from __future__ import annotations

import json
import sys

import numpy as np
from numpy.typing import NDArray

FIRST_LOOK, LOOK_EVERY = 100, 10
LEAST_BATCHES, MOST_CORRELATION = 16, 0.9
OUTLIER = 6 * 1.4826
TUNED_FOR = 1000
Values = NDArray[np.float64]


def blocks(ratios: Values, candidate_first: NDArray[np.bool_], warmup: int) -> tuple[Values, Values, int]:
    """The i-th samples of both orders together, as they complete; what being second gains; how many have no partner."""
    x, first = ratios[warmup:], candidate_first[warmup:]
    a, b = np.flatnonzero(~first), np.flatnonzero(first)
    pairs = min(len(a), len(b))
    a, b = a[:pairs], b[:pairs]
    by_time = np.argsort(np.maximum(a, b))
    a, b = a[by_time], b[by_time]
    return (x[a] + x[b]) / 2, (x[b] - x[a]) / 2, len(x) - 2 * pairs


def long_run_variance(y: Values) -> float:
    variances, means, size = [], y, 1
    while len(means) >= LEAST_BATCHES:
        variances.append(size * means.var(ddof=1))
        coarsest = means
        size *= 2
        means = y[: len(y) // size * size].reshape(-1, size).mean(axis=1)
    z = coarsest - coarsest.mean()
    square = (z * z).sum()
    r = min(max((z[1:] * z[:-1]).sum() / square, 0), MOST_CORRELATION) if square > 0 else 0
    return float(max(variances) * (1 + r) / (1 - r))


def half_width(n: int, variance: float, alpha: float) -> float:
    rho2 = (-2 * np.log(alpha) + np.log(-2 * np.log(alpha) + 1)) / TUNED_FOR
    inside = 2 * (n * rho2 + 1) / (n**2 * rho2) * np.log(1 + np.sqrt(n * rho2 + 1) / (2 * alpha))
    return float(np.sqrt(variance * inside))


def bounds(ratios: Values, candidate_first: NDArray[np.bool_], alpha: float, warmup: int) -> dict[str, float] | None:
    y, order, unpaired = blocks(ratios, candidate_first, warmup)
    if len(y) < FIRST_LOOK:
        return None
    centre = np.median(y[:FIRST_LOOK])
    deviation = np.median(np.abs(y[:FIRST_LOOK] - centre))
    reach = OUTLIER * deviation if deviation > 0 else np.inf
    y = np.clip(y, centre - reach, centre + reach)
    lower, upper = -np.inf, np.inf
    for n in range(FIRST_LOOK, len(y) + 1, LOOK_EVERY):
        half = half_width(n, long_run_variance(y[:n]), alpha)
        lower, upper = max(lower, y[:n].mean() - half), min(upper, y[:n].mean() + half)
    return {
        "blocks": len(y),
        "unpaired": unpaired,
        "mean": float(y.mean()),
        "spread": long_run_variance(y) ** 0.5,
        "lower": lower,
        "upper": upper,
        "order": float(order.mean()),
    }


if __name__ == "__main__":
    asked = json.load(sys.stdin)["series"]
    given = [(np.array(s["ratios"]), np.array(s["candidate_first"], dtype=bool)) for s in asked]
    found = [bounds(*series, s["alpha"], s["warmup"]) for series, s in zip(given, asked, strict=True)]
    json.dump(found, sys.stdout)
