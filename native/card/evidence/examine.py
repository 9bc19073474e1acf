"""One case of one op against ref.py in float64: poisoned outputs, relative norm and the op's own tolerance."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np

from .abi import Arguments, Library
from .backend import Backend
from .choices import tolerance_of
from .rooms import Placed, Room, assert_close, build

IMPLEMENTATION = "sm90"
ALIGNMENT = 64


def relative_norm(got: np.ndarray, expected: np.ndarray) -> float:
    """|got - expected| / |expected| over the finite elements; what is not a number on one side only counts as wrong."""
    got, expected = got.astype(np.float64), np.asarray(expected, np.float64)
    if not (np.isfinite(got) == np.isfinite(expected)).all():
        return float("inf")
    usable = np.isfinite(expected)
    scale = float(np.linalg.norm(expected[usable]))
    error = float(np.linalg.norm(got[usable] - expected[usable]))
    return error / scale if scale else float("inf") if error else 0.0


def norm_limit(dtype: np.dtype) -> float:
    """Two units of the last place as the root mean square; float32 sums of a long row are allowed more."""
    if dtype.kind in "iub":
        return 0.0
    return float(ml_dtypes.finfo(dtype).eps) * (64 if dtype.itemsize >= 4 else 2)


def max_abs(got: np.ndarray, expected: np.ndarray) -> float:
    finite = np.isfinite(np.asarray(expected, np.float64))
    difference = np.abs(got.astype(np.float64) - np.asarray(expected, np.float64))[finite]
    return float(difference.max()) if difference.size else 0.0


def arguments(library: Library, backend: Backend, op: str, values: dict[str, Any]) -> Arguments:
    return library.pack(op, [backend.place(v) if isinstance(v, np.ndarray) else v for v in values.values()])


def workspace(library: Library, backend: Backend, op: str, packed: Arguments) -> tuple[int, int, Any]:
    """Address, size, and what keeps it; starts as NaN in every type."""
    size = library.workspace_size(op, packed, IMPLEMENTATION)
    if not size:
        return 0, 0, None
    base = np.full(size + ALIGNMENT, 0xFF, np.uint8)
    address = backend.place(base).data
    return -(-address // ALIGNMENT) * ALIGNMENT, size, base


def examine(library: Library, backend: Backend, room: Room, case: dict, types: dict[str, str], seed: int) -> dict:
    """The result as evidence has it, plus `problem`: None, what is wrong, or `skipped` with the library's reason."""
    row: dict[str, Any] = {"case": case, "types": types, "passed": False, "outputs": {}, "problem": None}
    placed = Placed(room, case, build(room, case, types, seed))
    packed = arguments(library, backend, room.name, placed.values)
    if refusal := library.refusal(room.name, packed, IMPLEMENTATION):
        return {**row, "skipped": refusal}
    expected = room.module.ref(**build(room, case, types, seed))
    address, size, _kept = workspace(library, backend, room.name, packed)
    library.call(room.name, packed, IMPLEMENTATION, backend.stream, (address, size))
    backend.finish()
    try:
        placed.assert_untouched()
        for name, wanted in expected.items():
            row["outputs"][name] = _compare(room, case, name, placed.values[name], wanted)
        row["passed"] = True
    except AssertionError as error:
        row["problem"] = str(error).splitlines()[0]
    return row


def _compare(room: Room, case: dict, name: str, got: np.ndarray, wanted: np.ndarray) -> dict[str, float]:
    limits = tolerance_of(room.spec, case)
    assert_close(f"{room.name}:{IMPLEMENTATION}:{name}", got, wanted, limits)
    norm = relative_norm(got, wanted)
    own = limits.get(str(got.dtype), {})
    limit = own.get("norm", norm_limit(got.dtype))
    if own.get("rtol", 0) <= 1:
        assert norm <= limit, f"{name}: relative norm {norm:.3g}, at most {limit:.3g} is allowed"
    return {"max_abs": max_abs(got, wanted), "relative_norm": norm}
