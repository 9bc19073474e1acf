"""numpy arrays and torch tensors as the library's tensor descriptors; neither is imported for it."""

from __future__ import annotations

from typing import Any

from opswap import _opswap
from opswap.errors import OpswapError

SCALARS = (bool, int, float, str, type(None))


def to_native(value: Any) -> Any:
    """A descriptor of the caller's memory, or the scalar itself."""
    if isinstance(value, (*SCALARS, _opswap.Tensor)):
        return value
    if hasattr(value, "__array_interface__") and hasattr(value, "strides"):
        return _from_numpy(value)
    if hasattr(value, "data_ptr") and hasattr(value, "stride"):
        return _from_torch(value)
    if hasattr(value, "item"):
        return value.item()
    raise OpswapError(
        "OPSWAP_E_ARGUMENT", f"an argument is a {type(value).__name__}, needs a numpy array, torch tensor or scalar"
    )


def _from_numpy(array: Any) -> _opswap.Tensor:
    size = array.dtype.itemsize
    if any(s % size for s in array.strides):
        raise OpswapError("OPSWAP_E_STRIDE", f"strides {array.strides} bytes are not whole elements of {size} bytes")
    return _opswap.Tensor(array.ctypes.data, str(array.dtype), list(array.shape), [s // size for s in array.strides])


def _from_torch(tensor: Any) -> _opswap.Tensor:
    if tensor.device.type != "cpu":
        raise OpswapError(
            "OPSWAP_E_DEVICE", f"a tensor is on {tensor.device}; call device tensors through torch.ops.opswap"
        )
    dtype = str(tensor.dtype).removeprefix("torch.")
    return _opswap.Tensor(tensor.data_ptr(), dtype, list(tensor.shape), list(tensor.stride()))
