"""The FP8 rule in float32, exactly, and inputs that try it: shared by the rooms that write FP8."""

import numpy as np
from common import ref_fill
from ml_dtypes import float8_e4m3fn

FLOOR = np.float32(1e-4)


def quantize(values, rows, columns, scale, static, mn_major, floor=FLOOR):
    """Codes and scales of a matrix in groups of rows x columns (0: all of them)."""
    x = np.asarray(values).astype(np.float32)
    t, h = x.shape
    down, across = (-(-t // rows) if rows else 1), (-(-h // columns) if columns else 1)
    rows, columns = rows or max(t, 1), columns or max(h, 1)
    if static:
        by = scale
    else:
        padded = np.zeros((down * rows, across * columns), np.float32)
        padded[:t, :h] = np.abs(x)
        amax = padded.reshape(down, rows, across, columns).max((1, 3))
        grid = np.maximum(amax, floor) / np.float32(448)
        by = np.repeat(np.repeat(grid, rows, 0), columns, 1)[:t, :h]
        scale = grid.T if mn_major else grid
    with np.errstate(all="ignore"):
        codes = np.clip(x / by, -448, 448).astype(float8_e4m3fn)
    return {"out": codes.astype(np.float64), "scale": np.asarray(scale, np.float64)}


def inputs(case, _rng, make):
    """The case's fill in the input; a static scale where one is given, else NaN, which nothing may read."""
    args = ref_fill.fill(case, make(), "input")
    args["scale"][...] = case["static"] if case.get("static_scale") else np.nan
    return args
