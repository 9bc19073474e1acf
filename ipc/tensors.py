"""Arguments of `call` from the wire to descriptors of shared memory, without a copy and without numpy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .errors import IpcError
from .segments import MappedSegment, Segments

#: Bytes of an element, by the manifest's dtype names.
ITEM_BYTES = {
    "float64": 8,
    "float32": 4,
    "float16": 2,
    "bfloat16": 2,
    "float8_e4m3fn": 1,
    "float8_e5m2": 1,
    "int64": 8,
    "int32": 4,
    "int8": 1,
    "uint8": 1,
    "bool": 1,
}
#: Makes a descriptor of (address, dtype, shape, strides in elements): opswap's Tensor, or a test's own.
MakeTensor = Callable[[int, str, list[int], list[int]], Any]
VIEWS_KEPT = 64


class Arguments:
    """Turns references into descriptors; one that was seen before is found, not made again, since A/B runs repeat."""

    def __init__(self, make: MakeTensor, segments: Segments) -> None:
        self._make = make
        self._segments = segments

    def unpack(self, args: list[Any]) -> tuple[list[Any], list[MappedSegment]]:
        """The library's arguments, and the mappings that must outlive the call."""
        held: list[MappedSegment] = []
        return [self._tensor(arg, held) if type(arg) is dict else arg for arg in args], held

    def _tensor(self, ref: dict[str, Any], held: list[MappedSegment]) -> Any:
        shape, strides, offset, dtype = ref["shape"], ref["strides"], ref["offset"], ref["dtype"]
        mapped = self._segments.get(ref["segment"])
        held.append(mapped)
        key = (offset, dtype, len(shape), *shape, *strides)
        found = mapped.views.get(key)
        if found is None:
            end = _end(ref)
            mapped.reaches(end)
            if len(mapped.views) >= VIEWS_KEPT:
                mapped.views.clear()
            found = mapped.views[key] = (end, self._make(mapped.address + offset, dtype, shape, strides))
        # Asked every time: pages that the owner has cut off since would raise SIGBUS.
        mapped.reaches(found[0])
        return found[1]


def _end(ref: dict[str, Any]) -> int:
    """First byte after the tensor, worked out in Python integers, which do not overflow."""
    shape, strides, offset = ref["shape"], ref["strides"], ref["offset"]
    item = ITEM_BYTES.get(ref["dtype"])
    if item is None:
        raise IpcError("OPSWAP_E_DTYPE", f"expected a dtype of {', '.join(ITEM_BYTES)}; got {ref['dtype']!r}")
    if len(shape) != len(strides):
        raise IpcError("OPSWAP_E_STRIDE", f"shape has {len(shape)} dimensions, strides have {len(strides)}")
    if offset % item:
        raise IpcError("OPSWAP_E_SEGMENT", f"offset {offset} is not a multiple of the {item} bytes of {ref['dtype']}")
    if 0 in shape:
        return int(offset)
    last = sum((extent - 1) * step for extent, step in zip(shape, strides, strict=True))
    return int(offset + (last + 1) * item)
