"""Tensors as numpy arrays, by the manifest's dtype names."""

from __future__ import annotations

from typing import Any

from .errors import IpcError

try:
    import ml_dtypes
    import numpy as np
except ModuleNotFoundError as error:
    message = f"references and quarantine need numpy and ml_dtypes: {error}; pip install numpy ml_dtypes"
    raise IpcError("OPSWAP_E_MISSING", message) from error

Array = Any


def dtype_named(name: str) -> np.dtype[Any]:
    """Raises IpcError DTYPE for what no op takes."""
    try:
        return np.dtype(getattr(ml_dtypes, name, None) or name)
    except TypeError as error:
        raise IpcError("OPSWAP_E_DTYPE", f"no op takes a tensor of {name!r}") from error


def view(memory: Any, offset: int, dtype: str, shape: list[int], strides: list[int]) -> Array:
    """An array over `memory`, a buffer, from byte `offset` on; strides in elements."""
    kind = dtype_named(dtype)
    steps = [step * kind.itemsize for step in strides]
    return np.ndarray(shape, kind, memory, offset, steps)
