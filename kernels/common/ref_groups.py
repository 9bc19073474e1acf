"""Rows of groups, each with weights of its own: shared by the rooms of grouped products and their plan."""

import numpy as np


def bounds(rows, expert_first_row, masked_m):
    """(begin, end) of each group's rows."""
    if masked_m is None:
        return list(zip(expert_first_row[:-1].tolist(), expert_first_row[1:].tolist(), strict=True))
    capacity = rows // max(1, len(masked_m))
    return [(g * capacity, g * capacity + m) for g, m in enumerate(masked_m.tolist())]


def fill_groups(case, rng, args):
    """Offsets or counts out of the case's `sizes`, the first of them at row `first`; row indices that repeat."""
    sizes = case["sizes"]
    if args["masked_m"] is not None:
        args["masked_m"][...] = sizes
    if args["expert_first_row"] is not None:
        args["expert_first_row"][...] = np.cumsum([case.get("first", 0), *sizes])
    if args.get("row_indices") is not None:
        args["row_indices"][...] = rng.integers(0, max(1, case["T"]), case["R"])
    return args


def poison(args, rows):
    """Input rows that no group has are NaN: who reads them shows."""
    owned = np.zeros(rows, bool)
    for begin, end in bounds(rows, args["expert_first_row"], args["masked_m"]):
        owned[begin:end] = True
    indices = args["row_indices"]
    kept = np.isin(np.arange(len(args["input"])), indices[owned]) if indices is not None else owned
    args["input"][~kept] = np.nan


def products(out, x, w, expert_first_row, masked_m, row_indices):
    """out with x[row] @ w[group]^T in the rows that groups have; x and w in float64."""
    result = out.astype(np.float64)
    for g, (begin, end) in enumerate(bounds(len(out), expert_first_row, masked_m)):
        rows = slice(begin, end) if row_indices is None else row_indices[begin:end]
        result[begin:end] = x[rows] @ w[g].T
    return result
