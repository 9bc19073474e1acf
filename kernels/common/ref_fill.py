"""Values that try a kernel, put into a case's inputs by its key `fill`."""

import numpy as np
from ml_dtypes import float8_e4m3fn


def _ties(rows, columns):
    codes = np.arange(127, dtype=np.uint8).view(float8_e4m3fn).astype(np.float32)
    between = np.resize(np.append(448, (codes[1:] + codes[:-1]) / 2), 128).astype(np.float32)
    amax = np.float32(1) + np.arange(rows, dtype=np.float32)[:, None] * np.float32(0.618034) % 1
    x = np.resize(between, columns) * (amax / np.float32(448))
    beside = x.view(np.int32) + (np.arange(rows)[:, None] + np.arange(columns) // 128) % 5 - 2
    return np.where(np.arange(columns) % 128, beside.astype(np.int32).view(np.float32), amax)


def fill(case, args, *names):
    """zero: rows of zeros; wide: magnitudes from 1e-6 to 60; nan and inf: one such value in the first and last row;
    subnormal and tiny: magnitudes that fall to FP8's subnormals, or to subnormal scales; bits: in 65536 elements
    every pattern of 16 bits, the upper ones of wider types; ties: per 128 columns one amax, and what is, over its
    scale, within two units of each number where FP8's codes change; each row has another significand."""
    how = case.get("fill")
    for x in (args[name] for name in names if args[name].size):
        if how == "zero":
            x[::2] = 0
        elif how == "wide":
            x[...] = np.sign(x.astype(np.float32)) * np.geomspace(1e-6, 60, x.shape[1])
        elif how == "nan":
            x[0, -1] = x[-1, 0] = np.nan
        elif how == "inf":
            x[0, -1], x[-1, 0] = np.inf, -np.inf
        elif how == "subnormal":
            x[...] = x * np.logspace(0, -12, x.shape[1])
        elif how == "bits":
            patterns = np.arange(x.size, dtype=np.uint32) << (8 * x.itemsize - 16)
            x[...] = patterns.astype(f"u{x.itemsize}").view(x.dtype).reshape(x.shape)
        elif how == "ties":
            x[...] = _ties(*x.shape)
        elif how == "tiny":
            x[...] = x * np.logspace(-30, -37, x.shape[1])
    return args
