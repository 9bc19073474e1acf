"""Float64 references: what each room's ref.py makes of a call. They need numpy, and are kept out of engines."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from .arrays import Array, np
from .errors import IpcError


@dataclass(frozen=True)
class Difference:
    """How far an output is from what was expected.

    Attributes:
        elements, outside: of it, and beyond the tolerance or not finite in another way.
        became_nonfinite: not finite where what was expected is.
        worst: largest difference over what the tolerance allows there; infinite where one is not finite.
        at, got, expected: the worst element.
    """

    elements: int
    outside: int
    became_nonfinite: int
    worst: float
    at: tuple[int, ...] = ()
    got: float = 0.0
    expected: float = 0.0


def reference(op: str, args: Sequence[Any]) -> dict[str, Array]:
    """Each written output in float64. `args` are arrays and scalars in call order, and are not written.

    Raises IpcError UNUSABLE where the reference cannot take them.
    """
    from opswap.evidence.places import KERNELS
    from opswap.evidence.rooms import Room

    room = Room(KERNELS / op)
    names = [arg["name"] for arg in room.args]
    copies = [arg.copy() if isinstance(arg, np.ndarray) else arg for arg in args]
    try:
        with np.errstate(all="ignore"):
            made = room.module.ref(**dict(zip(names, copies, strict=True)))
    except Exception as error:  # a reference is a few lines of numpy, which say so in their own way
        what = f"{op}: its float64 reference does not take these arguments: {type(error).__name__}: {error}"
        raise IpcError("OPSWAP_E_UNUSABLE", what) from error
    return {name: np.asarray(value, np.float64) for name, value in made.items()}


def difference(got: Array, expected: Array, tolerance: dict[str, Any]) -> Difference:
    """Under the tolerance that the manifest has for the dtype of `got`; NaN is the same as NaN."""
    limits = tolerance.get(str(got.dtype), {"atol": 0.0, "rtol": 0.0})
    is_, wanted = (np.asarray(each, np.float64) for each in (got, expected))
    with np.errstate(all="ignore"):
        same = (is_ == wanted) | (np.isnan(is_) & np.isnan(wanted))
        apart = np.abs(is_ - wanted)
        share = np.where(same, 0.0, apart / (limits["atol"] + limits["rtol"] * np.abs(wanted)))
    share[~same & ~np.isfinite(share)] = np.inf
    lost = np.isfinite(wanted) & ~np.isfinite(is_)
    share[lost] = np.inf
    if not share.size:
        return Difference(0, 0, 0, 0.0)
    where = int(np.argmax(share))
    at = tuple(int(i) for i in np.unravel_index(where, share.shape))
    counts = int((share > 1).sum()), int(lost.sum())
    return Difference(share.size, *counts, float(share[at]), at, float(is_[at]), float(wanted[at]))
