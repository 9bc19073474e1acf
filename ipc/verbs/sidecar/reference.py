"""`reference`: what the op's float64 reference makes of a call. It needs numpy, which no other verb does."""

from __future__ import annotations

import ctypes
from typing import Any

from ...errors import IpcError
from ...library import LibraryOps
from ...segments import Segments
from ...tensors import ITEM_BYTES, Arguments

Fields = dict[str, Any]


def reference(ops: LibraryOps, fields: Fields) -> Fields:
    from ... import reference as references

    op, outputs = fields["op"], fields["outputs"]
    ops.declared(op)
    # Mapped for this call alone: views that are kept belong to the library's own descriptors.
    arguments = Arguments(_array_at, Segments())
    args, held = arguments.unpack(fields["args"])
    places, also_held = arguments.unpack(list(outputs.values()))
    made = references.reference(op, args)
    for name, place in zip(outputs, places, strict=True):
        right = made.get(name)
        if right is None or place.dtype != right.dtype or place.shape != right.shape:
            wanted = ", ".join(f"{each}: float64 {list(value.shape)}" for each, value in made.items())
            raise IpcError("OPSWAP_E_SHAPE", f"reference: {op} writes {wanted}; got {place.dtype} {list(place.shape)}")
    for name, place in zip(outputs, places, strict=True):
        place[...] = made[name]
    del held, also_held
    return {"written": sorted(outputs)}


def _array_at(address: int, dtype: str, shape: list[int], strides: list[int]) -> Any:
    from ...arrays import view

    last = sum((extent - 1) * step for extent, step in zip(shape, strides, strict=True))
    size = 0 if 0 in shape else (last + 1) * ITEM_BYTES[dtype]
    return view((ctypes.c_char * size).from_address(address), 0, dtype, shape, strides)
