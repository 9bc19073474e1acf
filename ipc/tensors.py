"""Arguments of `call` from the wire to arrays over shared memory, without a copy."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np

from .errors import IpcError
from .segments import Segments

DTYPES: dict[str, np.dtype[Any]] = {
    name: np.dtype(kind)
    for name, kind in {
        "float64": np.float64,
        "float32": np.float32,
        "float16": np.float16,
        "bfloat16": ml_dtypes.bfloat16,
        "float8_e4m3fn": ml_dtypes.float8_e4m3fn,
        "float8_e5m2": ml_dtypes.float8_e5m2,
        "int64": np.int64,
        "int32": np.int32,
        "int8": np.int8,
        "uint8": np.uint8,
        "bool": np.bool_,
    }.items()
}


def unpack(args: list[Any], segments: Segments) -> list[Any]:
    """Tensor references become arrays; scalars and None stay as they are."""
    return [_array(arg, segments) if isinstance(arg, dict) else arg for arg in args]


def _array(ref: dict[str, Any], segments: Segments) -> np.ndarray[Any, Any]:
    """Bounds are worked out in Python integers, which do not overflow, before anything is mapped."""
    dtype = DTYPES.get(ref["dtype"])
    if dtype is None:
        raise IpcError("OPSWAP_E_DTYPE", f"expected a dtype of {', '.join(DTYPES)}; got {ref['dtype']!r}")
    shape, strides, offset, item = ref["shape"], ref["strides"], ref["offset"], dtype.itemsize
    if len(shape) != len(strides):
        raise IpcError("OPSWAP_E_STRIDE", f"shape has {len(shape)} dimensions, strides have {len(strides)}")
    if offset % item:
        raise IpcError("OPSWAP_E_SEGMENT", f"offset {offset} is not a multiple of the {item} bytes of {ref['dtype']}")
    if 0 in shape:
        return _empty(shape, dtype)
    last = sum((extent - 1) * step for extent, step in zip(shape, strides, strict=True))
    memory = segments.get(ref["segment"], offset + (last + 1) * item)
    # The stride of a dimension of one is never used, and numpy would refuse a huge one.
    steps = [step * item if extent > 1 else item for extent, step in zip(shape, strides, strict=True)]
    array: np.ndarray[Any, Any] = np.ndarray(shape, dtype, memory, offset, steps)
    return array


def _empty(shape: list[int], dtype: np.dtype[Any]) -> np.ndarray[Any, Any]:
    try:
        return np.empty(shape, dtype)
    except ValueError as error:
        raise IpcError("OPSWAP_E_SHAPE", f"shape {shape}: {error}") from error
