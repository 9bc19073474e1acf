"""Arrays as the library's tensor descriptors: numpy, torch, DLPack, __cuda_array_interface__; nothing is imported.

`what` names op and argument in a message; `written` says that the op writes the tensor.
"""

from __future__ import annotations

import sys
from typing import Any, NamedTuple

from opswap import _opswap
from opswap._numbers import number
from opswap._torch_tensors import from_torch
from opswap.errors import OpswapError, read_only

SCALARS = (bool, int, float, str, type(None))
CPU, CUDA = 1, 2  # DLPack's numbers
LEGACY_STREAM = 1  # DLPack's name for CUDA's default stream, whose handle is 0
DLPACK = (1, 0)  # from this version on a capsule says whether its memory may be written
#: Dtypes by the typestr of array interfaces, without the byte order.
TYPESTR = {"f8": "float64", "f4": "float32", "f2": "float16", "i8": "int64", "i4": "int32", "i1": "int8", "u1": "uint8"}
TYPESTR["b1"] = "bool"
BIG_ENDIAN = ">" if sys.byteorder == "little" else "<"


class Quantized(NamedTuple):
    """Codes and scales as one argument: `data` and `scale` as the op has them, `layout` as docs/layouts.md names it."""

    data: Any
    scale: Any
    layout: str


def argument(op: str, spec: dict[str, Any], value: Any, stream: int = 0, writes: bool = False) -> Any:
    """What the library takes for this argument of `op`; with `writes` it must be writable where op.json says so.

    Raises:
        OpswapError: OPSWAP_E_READ_ONLY and others, with the names of op and argument.
    """
    what = f"{op}: {spec['name']}"
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, Quantized):
        data, scale = (to_native(f"{what}: {part}", getattr(value, part), stream) for part in ("data", "scale"))
        return _opswap.Quantized(data, scale, value.layout)
    if spec["kind"] != "tensor":
        value = number(what, spec["kind"], value)
    elif _is_numpys("generic", value):
        value = value.item()
    if isinstance(value, SCALARS):
        return value
    return to_native(what, value, stream, writes and bool(spec.get("writes")))


def _is_numpys(name: str, value: Any, module: str = "numpy") -> bool:
    found = sys.modules.get(module)
    return found is not None and isinstance(value, getattr(found, name))


def to_native(what: str, value: Any, stream: int = 0, written: bool = False) -> Any:
    """A descriptor of the caller's memory. A DLPack producer is told of `stream`."""
    if isinstance(value, _opswap.Tensor):
        return value
    if _is_numpys("ndarray", value):
        return _from_numpy(what, value, written)
    if hasattr(value, "data_ptr") and hasattr(value, "stride"):
        return from_torch(what, value, written)
    if hasattr(value, "__dlpack__") and hasattr(value, "__dlpack_device__"):
        return _from_dlpack(what, value, stream, written)
    if hasattr(value, "__cuda_array_interface__"):
        # The interface does not tell the device: it is `array.device.id`, or the first one.
        place = CUDA, getattr(getattr(value, "device", None), "id", 0)
        return _from_interface(what, value.__cuda_array_interface__, place, written)
    if hasattr(value, "__array_interface__"):
        return _from_interface(what, value.__array_interface__, (CPU, 0), written)
    raise OpswapError(
        "OPSWAP_E_ARGUMENT",
        f"{what} is a {type(value).__name__}, needs a numpy array, torch tensor, DLPack or CUDA array, or scalar",
    )


def _from_numpy(what: str, array: Any, written: bool) -> _opswap.Tensor:
    if written and not array.flags.writeable:
        raise read_only(what, "a read-only numpy array")
    if _is_numpys("MaskedArray", array, "numpy.ma") and array.mask.any():
        raise OpswapError(
            "OPSWAP_E_ARGUMENT", f"{what} is a masked array, needs one without a mask (filled() makes it)"
        )
    strides = _elements(what, array.strides, array.dtype.itemsize)
    return _opswap.Tensor(array.ctypes.data, str(array.dtype), list(array.shape), strides)


def _elements(what: str, strides: Any, size: int) -> list[int]:
    if any(s % size for s in strides):
        raise OpswapError(
            "OPSWAP_E_STRIDE", f"{what} has strides of {strides} bytes, needs whole elements of {size} bytes"
        )
    return [s // size for s in strides]


def _from_dlpack(what: str, value: Any, stream: int, written: bool) -> _opswap.Tensor:
    on_cpu = value.__dlpack_device__()[0] == CPU
    tensor = _opswap.from_dlpack(_capsule(what, value, {} if on_cpu else {"stream": stream or LEGACY_STREAM}))
    if written and tensor.read_only:
        raise read_only(what, "a read-only DLPack array")
    if written and tensor.copied:
        raise read_only(what, "a copy that its __dlpack__ made")
    return tensor


def _capsule(what: str, value: Any, wanted: dict[str, Any]) -> Any:
    """In the version that tells of read-only memory, where the producer has it."""
    try:
        try:
            return value.__dlpack__(max_version=DLPACK, **wanted)
        except TypeError:
            return value.__dlpack__(**wanted)
    except (BufferError, RuntimeError, ValueError) as error:
        raise OpswapError("OPSWAP_E_ARGUMENT", f"{what}: its __dlpack__ refuses: {error}") from error


def _from_interface(what: str, info: dict[str, Any], place: tuple[int, int], written: bool) -> _opswap.Tensor:
    order, name, shape = info["typestr"][0], info["typestr"][1:], list(info["shape"])
    if name not in TYPESTR or order == BIG_ENDIAN:
        raise OpswapError(
            "OPSWAP_E_DTYPE",
            f"{what} is an array of typestr {info['typestr']}, needs {', '.join(TYPESTR)}; others come through DLPack",
        )
    if info.get("mask") is not None:
        raise OpswapError("OPSWAP_E_ARGUMENT", f"{what} is a masked array, needs one without a mask")
    if not isinstance(info.get("data"), tuple):
        raise OpswapError("OPSWAP_E_ARGUMENT", f"{what} is an array that gives no address, needs (address, read-only)")
    address, locked = info["data"]
    if written and locked:
        raise read_only(what, "a read-only array")
    contiguous = [1]
    for size in shape[:0:-1]:
        contiguous.insert(0, contiguous[0] * size)
    given = info.get("strides")
    strides = contiguous[: len(shape)] if given is None else _elements(what, given, int(name[1]))
    return _opswap.Tensor(address or 0, TYPESTR[name], shape, strides, *place)


def stream_of(values: list[Any]) -> int:
    """The stream on which the work of these arguments is ordered: torch's current one, or what a CUDA array names.

    Raises:
        OpswapError: OPSWAP_E_ARGUMENT when two arguments name different ones.
    """
    arrays = [v.data if isinstance(v, Quantized) else v for v in values if not isinstance(v, SCALARS)]
    found = {s for v in arrays if (s := _named_stream(v)) is not None}
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
    if hasattr(stream, "__index__"):  # numpy's integers
        return int(stream)
    raise OpswapError(
        "OPSWAP_E_ARGUMENT", f"stream is a {type(stream).__name__}, needs a handle, a torch stream or __cuda_stream__"
    )
