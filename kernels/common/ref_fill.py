"""Values that try a kernel, put into a case's inputs by its key `fill`."""

import numpy as np


def fill(case, args, *names):
    """zero: rows of zeros; wide: magnitudes from 1e-6 to 60; nan and inf: one such value in the first and last row;
    subnormal and tiny: magnitudes that fall to FP8's subnormals, or to subnormal scales; bits: in 65536 elements
    every pattern of 16 bits, the upper ones of wider types."""
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
        elif how == "tiny":
            x[...] = x * np.logspace(-30, -37, x.shape[1])
    return args
