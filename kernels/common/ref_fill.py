"""Values that try a kernel, put into a case's inputs by its key `fill`."""

import numpy as np
from ml_dtypes import finfo, float8_e4m3fn


def _ties(rows, columns):
    codes = np.arange(127, dtype=np.uint8).view(float8_e4m3fn).astype(np.float32)
    between = np.resize(np.append(448, (codes[1:] + codes[:-1]) / 2), 128).astype(np.float32)
    amax = np.float32(1) + np.arange(rows, dtype=np.float32)[:, None] * np.float32(0.618034) % 1
    x = np.resize(between, columns) * (amax / np.float32(448))
    beside = x.view(np.int32) + (np.arange(rows)[:, None] + np.arange(columns) // 128) % 5 - 2
    return np.where(np.arange(columns) % 128, beside.astype(np.int32).view(np.float32), amax)


def _huge(x):
    """By row: magnitudes around 4 roots of the largest number; that number with both signs; it among ones; equal
    elements of a 7th of it; magnitudes of which only the sum of squares is too large."""
    most = float(finfo(x.dtype).max)
    x[::5] = x[::5].astype(np.float64) * 4 * most**0.5
    x[1::5] = np.where(x[1::5] < 0, -most, most)
    x[2::5], x[2::5, ..., -1:] = 1, most
    x[3::5] = most / 7
    x[4::5] = np.where(x[4::5] < 0, -1, 1) * most**0.5 * 0.9


def _faint(x):
    """By row: magnitudes above the least normal number; around it; subnormal ones; a subnormal one among zeros."""
    info = finfo(x.dtype)
    x[::4] = x[::4].astype(np.float64) * float(info.tiny) * 2**20
    x[1::4] = x[1::4].astype(np.float64) * float(info.tiny)
    x[2::4] = np.where(x[2::4] < 0, -3, 5) * float(info.smallest_subnormal)
    x[3::4], x[3::4, ..., -1:] = 0, info.smallest_subnormal


def fill(case, args, *names):
    """zero: rows of zeros; wide: magnitudes from 1e-6 to 60; nan and inf: one such value in the first and last row;
    subnormal and tiny: magnitudes that fall to FP8's subnormals, or to subnormal scales; bits: in 65536 elements
    every pattern of 16 bits, the upper ones of wider types; ties: per 128 columns one amax, and what is, over its
    scale, within two units of each number where FP8's codes change; each row has another significand; equal: rows of
    one number each; huge and faint: squares that float32 cannot hold (faint wants an epsilon of 0)."""
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
        elif how == "huge":
            _huge(x)
        elif how == "faint":
            _faint(x)
        elif how == "equal":
            x[...] = np.geomspace(0.1, float(finfo(x.dtype).max) / 3, len(x))[:, None]
    return args
