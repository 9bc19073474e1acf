"""How far products of FP8 are from float64 of the same codes and scales, on the emulator."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
from ops.rooms import Room
from roofline.cases import as_built, case_of, run
from roofline.count import Counted

#: How FP8 products are summed, and the most that the difference may be.
MODES = {"hopper": 1e-3, "float": 1e-6}
#: Inputs of both signs, whose sums stay small, and of one, whose sums lose what is added last.
BETWEEN = ("both signs", "one sign")
ROWS, FEATURES, K = 8, 64, 7168
#: Finer than bf16, whose rounding of the result alone is 1e-6.
OUT = ("float32", "float16")


def difference(x: np.ndarray, y: np.ndarray) -> float:
    """DeepGEMM's measure."""
    x, y = x.astype(np.float64), y.astype(np.float64)
    return float(1 - 2 * (x * y).sum() / ((x * x).sum() + (y * y).sum()))


def _types(room: Room) -> list[dict[str, str]]:
    out = next(a["dtype"] for a in room.args if a.get("writes"))
    fine = [t for t in room.type_choices() if t[out] in OUT]
    return sorted(fine, key=lambda t: (OUT.index(t[out]), -list(t.values()).count("float8_e4m3fn")))


def _one_sign(values: dict[str, Any]) -> dict[str, Any]:
    codes = {k: v for k, v in values.items() if isinstance(v, np.ndarray) and v.dtype.name.startswith("float8")}
    return values | {k: (v.view(np.uint8) & 0x7F).view(v.dtype) for k, v in codes.items()}


def errors(room: Room, counted: Counted) -> dict[tuple[str, str], float]:
    """Of each way to sum and each kind of input, with the finest out that the kernels write."""
    found = {}
    for mode in MODES:
        for fill in BETWEEN:
            os.environ["OPSWAP_EMULATE_FP8"] = mode
            try:
                found[mode, fill] = _error(room, counted, fill)
            finally:
                del os.environ["OPSWAP_EMULATE_FP8"]
    return found


def _error(room: Room, counted: Counted, fill: str) -> float:
    changed = _one_sign if fill == "one sign" else as_built
    ran = run(room, counted, case_of(room, ROWS, FEATURES, K), _types(room), changed)
    if isinstance(ran, str):
        raise ValueError(f"{room.name} has not run: {ran}")
    ((name, expected),) = ran.expected.items()
    return difference(ran.values[name], expected)
