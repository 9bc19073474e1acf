"""The bounds of a latency comparison, written from the formulas with numpy, for a test of the TypeScript ones.

Reads {"series": [{"control", "candidate", "candidate_first", "alpha", "warmup", "allowances"}]} from its input, prints
the bounds of each, or null, and its guards of quantiles. docs/ab-verdicts.md has the formulas and their sources.
"""

from __future__ import annotations

import itertools
import json
import sys
from typing import Any

import numpy as np
from numpy.typing import NDArray

FIRST_LOOK, LOOK_EVERY = 100, 10
LEAST_BATCHES, MOST_CORRELATION = 16, 0.9
OUTLIER = 6 * 1.4826
TUNED_FOR = 1000
WINDOW = 1000
MEAN, GUARD, WINDOWS = 1 / 2, 1 / 4 / 4, 1 / 4  # what each may spend of a bucket's alpha
QUANTILES = {"p50": 0.5, "p95": 0.95, "p99": 0.99, "p999": 0.999}
FIRST_TIMES, MOST_TIMES = 200, 25_600
NODES, WEIGHTS = np.polynomial.legendre.leggauss(200)
Values = NDArray[np.float64]


def pairs_of(first: NDArray[np.bool_]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """The i-th samples of both orders, in the order in which pairs complete."""
    a, b = np.flatnonzero(~first), np.flatnonzero(first)
    pairs = min(len(a), len(b))
    a, b = a[:pairs], b[:pairs]
    by_time = np.argsort(np.maximum(a, b))
    return a[by_time], b[by_time]


def blocks(ratios: Values, candidate_first: NDArray[np.bool_], warmup: int) -> tuple[Values, Values, int]:
    """Means of pairs; what being second gains; how many have no partner."""
    x = ratios[warmup:]
    a, b = pairs_of(candidate_first[warmup:])
    return (x[a] + x[b]) / 2, (x[b] - x[a]) / 2, len(x) - 2 * len(a)


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


def sequence(y: Values, alpha: float) -> tuple[float, float]:
    """The highest lower and the lowest upper bound of all looks."""
    lower, upper = -np.inf, np.inf
    for n in range(FIRST_LOOK, len(y) + 1, LOOK_EVERY):
        half = half_width(n, long_run_variance(y[:n]), alpha)
        lower, upper = max(lower, y[:n].mean() - half), min(upper, y[:n].mean() + half)
    return lower, upper


def wager(wins: int, losses: int) -> float:
    """The integral of 2 (2p)^wins (2 - 2p)^losses over p from 1/2 to 1; exact to 399 throws, and near it beyond."""
    p = 0.75 + NODES / 4
    return float(WEIGHTS @ np.exp(np.log(2) + wins * np.log(2 * p) + losses * np.log(2 - 2 * p)) / 4)


def guards(
    control: Values, candidate: Values, first: NDArray[np.bool_], alpha: float, allowances: dict[str, float]
) -> list[dict[str, Any]]:
    """Each quantile's threshold and counts, until it fails."""
    a, b = pairs_of(first)
    order = np.column_stack([np.minimum(a, b), np.maximum(a, b)]).ravel()
    c, d = control[order], candidate[order]
    looks = [n for n in (FIRST_TIMES << k for k in range(20)) if n <= min(len(c), MOST_TIMES)]
    found = []
    for name, q in QUANTILES.items():
        told: dict[str, Any] = {"quantile": name, "threshold_ns": None, "candidate_beyond": 0, "control_beyond": 0}
        told["failed"] = False
        for begin, end in itertools.pairwise([*looks, len(c)]):
            if told["failed"]:
                break
            early = np.sort(c[:begin])
            t = told["threshold_ns"] = float(early[int(q * begin)])
            share = min(((1 - q) * begin - (early > t).sum()) / (early == t).sum(), 1)
            beyond = d[begin:end] > t * allowances[name]
            owed = 0.0
            for x, is_beyond in zip(c[begin:end], beyond, strict=True):
                owed += share if x == t else 0
                by_control = x > t or (x == t and owed >= 1)
                owed -= x == t and owed >= 1
                told["candidate_beyond"] += bool(is_beyond and not by_control)
                told["control_beyond"] += bool(by_control and not is_beyond)
                if by_control != is_beyond and told["candidate_beyond"] > told["control_beyond"]:
                    told["failed"] = wager(told["candidate_beyond"], told["control_beyond"]) >= 1 / alpha
                if told["failed"]:
                    break
        found.append(told)
    return found


def bounds(
    ratios: Values, candidate_first: NDArray[np.bool_], alpha: float, warmup: int
) -> dict[str, float | None] | None:
    y, order, unpaired = blocks(ratios, candidate_first, warmup)
    if len(y) < FIRST_LOOK:
        return None
    centre = np.median(y[:FIRST_LOOK])
    deviation = np.median(np.abs(y[:FIRST_LOOK] - centre))
    reach = OUTLIER * deviation if deviation > 0 else np.inf
    y = np.clip(y, centre - reach, centre + reach)
    lower, upper = sequence(y, MEAN * alpha)
    windows = enumerate(range(WINDOW, len(y), WINDOW), 1)
    late = max((sequence(y[n : n + WINDOW], WINDOWS * alpha / (k * (k + 1)))[0] for k, n in windows), default=-np.inf)
    return {
        "blocks": len(y),
        "unpaired": unpaired,
        "mean": float(y.mean()),
        "spread": long_run_variance(y) ** 0.5,
        "lower": lower,
        "upper": upper,
        "late": late if np.isfinite(late) else None,
        "order": float(order.mean()),
    }


def answer(asked: dict[str, Any]) -> dict[str, Any]:
    control, candidate = np.array(asked["control"]), np.array(asked["candidate"])
    first, alpha, warmup = np.array(asked["candidate_first"], dtype=bool), asked["alpha"], asked["warmup"]
    told = bounds(np.log(candidate / control), first, alpha, warmup)
    kept = control[warmup:], candidate[warmup:], first[warmup:]
    return {"bounds": told, "guards": guards(*kept, alpha * GUARD, asked["allowances"])}


if __name__ == "__main__":
    json.dump([answer(asked) for asked in json.load(sys.stdin)["series"]], sys.stdout)
