"""The gated activation, through the op."""

from __future__ import annotations

import numpy as np
import opswap
import toy_engine


def live(x: np.ndarray) -> np.ndarray:
    """x [T, 2 I] -> [T, I]."""
    out = np.empty((x.shape[0], x.shape[1] // 2), x.dtype)
    opswap.call("silu_and_mul", out, x)
    return out


def install(_context) -> None:
    toy_engine.ACTIVATIONS["silu_and_mul"] = live
