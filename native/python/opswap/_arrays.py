"""Arrays as the library's tensor descriptors: numpy, torch, DLPack, __cuda_array_interface__; nothing is imported."""

from __future__ import annotations

import sys
from typing import Any

from opswap import _opswap
from opswap.errors import OpswapError

SCALARS = (bool, int, float, str, type(None))
CPU, CUDA = 1, 2  # DLPack's numbers
LEGACY_STREAM = 1  # DLPack's name for CUDA's default stream, whose handle is 0
#: Dtypes by the typestr of __cuda_array_interface__, without the byte order.
TYPESTR = {"f8": "float64", "f4": "float32", "f2": "float16", "i8": "int64", "i4": "int32", "i1": "int8", "u1": "uint8"}
TYPESTR["b1"] = "bool"


def to_native(value: Any, stream: int = 0) -> Any:
    """A descriptor of the caller's memory, or the scalar itself. A DLPack producer is told of `stream`."""
    if isinstance(value, (*SCALARS, _opswap.Tensor)):
        return value
    if hasattr(value, "__array_interface__") and hasattr(value, "strides"):
        return _from_numpy(value)
    if hasattr(value, "data_ptr") and hasattr(value, "stride"):
        return _from_torch(value)
    if hasattr(value, "__dlpack__") and hasattr(value, "__dlpack_device__"):
        wanted = {} if value.__dlpack_device__()[0] == CPU else {"stream": stream or LEGACY_STREAM}
        return _opswap.from_dlpack(value.__dlpack__(**wanted))
    if hasattr(value, "__cuda_array_interface__"):
        return _from_cuda_array(value)
    if hasattr(value, "item"):
        return value.item()
    raise OpswapError(
        "OPSWAP_E_ARGUMENT",
        f"an argument is a {type(value).__name__}, needs a numpy array, torch tensor, DLPack or CUDA array, or scalar",
    )


def _from_numpy(array: Any) -> _opswap.Tensor:
    strides = _elements(array.strides, array.dtype.itemsize)
    return _opswap.Tensor(array.ctypes.data, str(array.dtype), list(array.shape), strides)


def _elements(strides: Any, size: int) -> list[int]:
    if any(s % size for s in strides):
        raise OpswapError("OPSWAP_E_STRIDE", f"strides {strides} bytes are not whole elements of {size} bytes")
    return [s // size for s in strides]


def _from_torch(tensor: Any) -> _opswap.Tensor:
    device = {"cpu": CPU, "cuda": CUDA}.get(tensor.device.type)
    if device is None:
        raise OpswapError("OPSWAP_E_DEVICE", f"a tensor is on {tensor.device}, needs cpu or cuda")
    dtype = str(tensor.dtype).removeprefix("torch.")
    place = (device, tensor.device.index or 0)
    return _opswap.Tensor(tensor.data_ptr(), dtype, list(tensor.shape), list(tensor.stride()), *place)


def _from_cuda_array(array: Any) -> _opswap.Tensor:
    """The interface does not tell the device: it is `array.device.id`, or the first one."""
    info = array.__cuda_array_interface__
    name, shape = info["typestr"][1:], list(info["shape"])
    if name not in TYPESTR:
        raise OpswapError(
            "OPSWAP_E_DTYPE",
            f"a CUDA array has typestr {info['typestr']}, needs {', '.join(TYPESTR)}; others come through DLPack",
        )
    contiguous = [1]
    for size in shape[:0:-1]:
        contiguous.insert(0, contiguous[0] * size)
    given = info.get("strides")
    strides = contiguous[-len(shape) :] if given is None else _elements(given, int(name[1]))
    device = getattr(getattr(array, "device", None), "id", 0)
    return _opswap.Tensor(info["data"][0], TYPESTR[name], shape, strides, CUDA, device)


def stream_of(values: list[Any]) -> int:
    """The stream on which the work of these arguments is ordered: torch's current one, or what a CUDA array names.

    Raises:
        OpswapError: OPSWAP_E_ARGUMENT when two arguments name different ones.
    """
    found = {s for v in values if not isinstance(v, SCALARS) and (s := _named_stream(v)) is not None}
    if len(found) > 1:
        raise OpswapError("OPSWAP_E_ARGUMENT", f"the arguments belong to {len(found)} streams; say which by stream=")
    return found.pop() if found else 0


def _named_stream(value: Any) -> int | None:
    is_cuda = getattr(value, "is_cuda", None)
    if is_cuda:
        return sys.modules["torch"].cuda.current_stream(value.device).cuda_stream
    if is_cuda is None and hasattr(value, "__cuda_array_interface__"):
        return value.__cuda_array_interface__.get("stream")
    return None


def stream_handle(stream: Any) -> int:
    """An int, torch.cuda.Stream, or an object of the __cuda_stream__ protocol."""
    if isinstance(stream, int):
        return stream
    if hasattr(stream, "__cuda_stream__"):
        protocol = stream.__cuda_stream__
        return int((protocol() if callable(protocol) else protocol)[1])
    if hasattr(stream, "cuda_stream"):
        return int(stream.cuda_stream)
    raise OpswapError(
        "OPSWAP_E_ARGUMENT", f"stream is a {type(stream).__name__}, needs a handle, a torch stream or __cuda_stream__"
    )
