"""Compares ways to bound a slowdown, on equal kernels whose times depend on each other and on slow ones.

python test/experiments/methods.py [runs]      prints the table of docs/ab-verdicts.md
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from statistics import NormalDist

import numpy as np
from reference import FIRST_LOOK, TUNED_FOR, Values, half_width, long_run_variance

SAMPLES, SLOW_SAMPLES, PHI, SPREAD = 10_000, 1_000, 0.9, 0.05
MARGIN, SLOW = np.log(1.01), np.log(1.03)
FIRST, FIFTIETH = 0.05 / 2, 0.05 / (50 * 51)
Method = Callable[[Values, float], float]


def plain_variance(y: Values) -> float:
    return float(y.var(ddof=1))


def fixed_batches(size: int) -> Callable[[Values], float]:
    def variance(y: Values) -> float:
        return float(size * y[: len(y) // size * size].reshape(-1, size).mean(axis=1).var(ddof=1))

    return variance


def largest_level(least: int) -> Callable[[Values], float]:
    def variance(y: Values) -> float:
        sizes = [2**k for k in range(20) if len(y) >> k >= least]
        return max(fixed_batches(size)(y) for size in sizes)

    return variance


def sequence(variance: Callable[[Values], float]) -> Method:
    return lambda y, alpha: half_width(len(y), variance(y), alpha)


def one_look(y: Values, alpha: float) -> float:
    """What a test that is meant for one look would use; normal instead of t, which 100 blocks hardly tell apart."""
    return float(NormalDist().inv_cdf(1 - alpha) * np.sqrt(y.var(ddof=1) / len(y)))


METHODS: dict[str, Method] = {
    "z-test at every look": one_look,
    "confidence sequence, samples as if independent": sequence(plain_variance),
    "the same, batches of 8": sequence(fixed_batches(8)),
    "the same, batches of 32": sequence(fixed_batches(32)),
    "largest of batches of 1, 2, 4, ..., 32 batches at least": sequence(largest_level(32)),
    "the same, 16 batches at least": sequence(largest_level(16)),
    "the same, 8 batches at least": sequence(largest_level(8)),
    "16 batches at least, times (1 + r) / (1 - r): the one used": sequence(long_run_variance),
}


def ar1(rng: np.random.Generator, runs: int, length: int) -> Values:
    x = np.empty((runs, length))
    x[:, 0] = SPREAD * rng.standard_normal(runs)
    noise = SPREAD * np.sqrt(1 - PHI**2) * rng.standard_normal((runs, length))
    for t in range(1, length):
        x[:, t] = PHI * x[:, t - 1] + noise[:, t]
    return x


def blocks(x: Values) -> Values:
    return (x[:, 0::2] + x[:, 1::2]) / 2


def found_at(y: Values, method: Method, alpha: float) -> float:
    """Samples until the lower bound is above the margin; from 1,000 blocks on looks are further apart, to save time."""
    n = FIRST_LOOK
    while n <= len(y):
        if y[:n].mean() > MARGIN and y[:n].mean() - method(y[:n], alpha) > MARGIN:
            return 2.0 * n
        n += 10 if n < TUNED_FOR else 50
    return float("inf")


def main(runs: int) -> None:
    rng = np.random.default_rng(2026)
    equal = blocks(ar1(rng, runs, SAMPLES))
    slow = blocks(SPREAD * rng.standard_normal((runs, SLOW_SAMPLES)) + SLOW)
    print("| method | A/A rolled back | at the margin | 3% found | median samples |")
    print("| --- | --- | --- | --- | --- |")
    for name, method in METHODS.items():
        aa = np.mean([np.isfinite(found_at(y, method, FIRST)) for y in equal])
        margin = np.mean([np.isfinite(found_at(y + MARGIN, method, FIRST)) for y in equal])
        at = np.array([found_at(y, method, FIFTIETH) for y in slow])
        shown = [
            f"{100 * aa:.1f}%",
            f"{100 * margin:.1f}%",
            f"{100 * np.isfinite(at).mean():.1f}%",
            f"{np.median(at):.0f}",
        ]
        print(f"| {name} | {' | '.join(shown)} |", flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1000)
