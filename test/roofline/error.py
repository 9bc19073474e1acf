"""How far products of FP8 are from float64 of the same codes and scales, on the emulator."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
from ops.rooms import Placed, Room, build
from roofline.count import Counted

#: How FP8 products are summed, and the most that the difference may be.
MODES = {"hopper": 1e-3, "float": 1e-6}
#: Inputs of both signs, whose sums stay small, and of one, whose sums lose what is added last.
BETWEEN = ("both signs", "one sign")
CASE = {"M": 8, "N": 128, "K": 7168, "none": ["bias"]}
#: Finer than bf16, whose rounding of the result alone is 1e-6.
OUT = ("float32", "float16")


def difference(x: np.ndarray, y: np.ndarray) -> float:
    """DeepGEMM's measure."""
    x, y = x.astype(np.float64), y.astype(np.float64)
    return float(1 - 2 * (x * y).sum() / ((x * x).sum() + (y * y).sum()))


def has_codes(room: Room) -> bool:
    return any("float8_e4m3fn" in dtypes for dtypes in room.spec["types"].values())


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
    why = "no dtypes with a fine out"
    for types in _types(room):
        values = build(room, CASE, types)
        values = _one_sign(values) if fill == "one sign" else values
        placed = Placed(room, CASE, values)
        ran = counted.launches(room, placed.values)
        if not isinstance(ran, str):
            ((name, expected),) = room.module.ref(**values).items()
            return difference(placed.values[name], expected)
        why = ran
    raise ValueError(f"{room.name} has not run: {why}")
