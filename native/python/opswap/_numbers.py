"""Scalar arguments: Python's numbers, numpy's scalars and arrays of no dimension, by what op.json says of the field."""

from __future__ import annotations

import math
from typing import Any

from opswap.errors import OpswapError

NUMBERS = (bool, int, float)
INT64 = range(-(2**63), 2**63)
#: numpy's letters for bool, int, unsigned and float; V is a type from outside numpy, such as bfloat16.
REAL_KINDS = "biufV"


def number(what: str, kind: str, value: Any) -> Any:
    """`value` as Python's own number, when it is one exactly; what is no number is returned as it is.

    A float takes whole numbers too, as in Python; what else does not fit its field is the library's to refuse.

    Raises:
        OpswapError: OPSWAP_E_ARGUMENT for a number that Python's own or the library's cannot hold.
    """
    if not isinstance(value, NUMBERS):
        value = _own(what, kind, value)
    if isinstance(value, int):
        return _float_of(what, value) if kind == "float" else _checked(what, value)
    return value


def _own(what: str, kind: str, value: Any) -> Any:
    """numpy's scalars and host arrays of no dimension as Python's."""
    if getattr(value, "shape", None) != () or not hasattr(value, "item") or _is_elsewhere(value):
        return value
    if getattr(getattr(value, "dtype", None), "kind", "f") not in REAL_KINDS:
        raise _refused(what, f"is {value!r}", kind)
    own = value.item()
    if isinstance(own, NUMBERS):
        return own
    try:
        rounded = float(own)  # a longdouble, or a type from outside numpy
    except (TypeError, ValueError) as error:
        raise _refused(what, f"is {value!r}", kind) from error
    if rounded != own and not math.isnan(rounded):
        raise _refused(what, f"is {value!r}, which a float64 does not hold", kind)
    return rounded


def _is_elsewhere(value: Any) -> bool:
    """Reading a device's memory would wait for its work."""
    return getattr(getattr(value, "device", None), "type", "cpu") != "cpu"


def _float_of(what: str, value: int) -> float:
    try:
        exact = float(value)
    except OverflowError:
        exact = None
    if exact != value:
        raise _refused(what, f"is {_short(value)}, which a float64 does not hold", "float")
    return exact


def _checked(what: str, value: int) -> int:
    if value not in INT64:
        raise _refused(what, f"is {_short(value)}, which an int64 does not hold", "int")
    return value


def _short(value: int) -> str:
    """Python refuses to print a number of more than 4300 digits."""
    return str(value) if value.bit_length() <= 256 else f"a number of {value.bit_length()} bits"


def _refused(what: str, came: str, kind: str) -> OpswapError:
    return OpswapError("OPSWAP_E_ARGUMENT", f"{what} {came}, needs a{'n' * (kind == 'int')} {kind}")
