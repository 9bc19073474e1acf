"""Memory in which a wrong access ends the process or leaves a trace: pages between ones that nobody may touch."""

from __future__ import annotations

import ctypes
import json
import mmap
import os
from typing import Any

from ..arrays import Array, dtype_named, np, view
from ..errors import IpcError, remedy_of
from .recording import RecordedTensor

PAGE = mmap.PAGESIZE
#: On each side, as long as a stray row of a wide tensor.
GUARD = 256 * PAGE
ALIGNED = 64
CANARY, POISON = 0xA7, 0xFF
PROT_NONE, PROT_READ = 0, 1
_libc = ctypes.CDLL(None, use_errno=True)


class Place:
    """One tensor in pages of its own.

    With `at_end` its last byte lies before the guard behind it, but for the alignment; else its first one lies behind
    the guard before it. What the pages have beside its elements are canaries.
    """

    def __init__(self, tensor: RecordedTensor, at_end: bool) -> None:
        item = dtype_named(tensor.dtype).itemsize
        self.bytes = _extent(tensor) * item
        pages = -(-max(self.bytes, 1) // PAGE) * PAGE
        self._memory = mmap.mmap(-1, pages + 2 * GUARD)
        # The export pins the mapping under the addresses that calls get.
        self._pin = ctypes.c_char.from_buffer(self._memory)
        self.address = ctypes.addressof(self._pin)
        self._pages = pages
        start = GUARD + ((pages - self.bytes) // ALIGNED * ALIGNED if at_end else 0)
        self.array = view(self._memory, start, tensor.dtype, tensor.shape, tensor.strides)
        for guard in (self.address, self.address + GUARD + pages):
            self._protect(guard, GUARD, PROT_NONE)
        self._fill(tensor, start)

    def guards(self, name: str, is_written: bool) -> list[tuple[int, int, str]]:
        """Where an access ends the process, and the line that says so; of an input, its own pages too."""
        inside = self.address + GUARD
        behind = inside + self._pages
        rows = [
            (self.address, inside, f"before the beginning of {name}"),
            (behind, behind + GUARD, f"behind the end of {name}"),
        ]
        if not is_written:
            rows.append((inside, behind, f"in its input {name}, which the op only reads"))
        return [(begin, end, json.dumps({"stage": "touched", "where": where}) + "\n") for begin, end, where in rows]

    def read_only(self) -> None:
        """From here on a write ends the process."""
        self._protect(self.address + GUARD, self._pages, PROT_READ)

    def is_intact(self) -> bool:
        """Whether the canaries are as they were."""
        return bool((self._inside[self._outside] == CANARY).all())

    def _fill(self, tensor: RecordedTensor, start: int) -> None:
        self._inside = np.frombuffer(self._memory, np.uint8, self._pages, GUARD)
        self._inside[:] = CANARY
        own = np.zeros(self._pages, bool)
        steps = [step * self.array.itemsize for step in tensor.strides]
        # Its elements byte by byte: a view may have gaps, which are not the op's to write.
        mask = np.ndarray([*tensor.shape, self.array.itemsize], bool, own, start - GUARD, [*steps, 1])
        mask[...] = True
        self._outside = ~own
        self._inside[own] = POISON
        if tensor.values is not None:
            self.array[...] = tensor.values

    def _protect(self, address: int, size: int, what: int) -> None:
        if _libc.mprotect(ctypes.c_void_p(address), ctypes.c_size_t(size), what):
            raise IpcError("OPSWAP_E_MEMORY", f"mprotect: {os.strerror(ctypes.get_errno())}", remedy_of("OPSWAP_E_IO"))


def _extent(tensor: RecordedTensor) -> int:
    """Elements from the first to the last one that the view touches."""
    if 0 in tensor.shape:
        return 0
    return 1 + sum((n - 1) * step for n, step in zip(tensor.shape, tensor.strides, strict=True))


def bytes_of(tensor: RecordedTensor) -> int:
    """What a place of it takes, before any is made."""
    return _extent(tensor) * dtype_named(tensor.dtype).itemsize + PAGE


def same_bytes(one: Array, other: Array) -> bool:
    """Whether both have the same bits; NaN is equal to the same NaN."""
    return np.ascontiguousarray(one).tobytes() == np.ascontiguousarray(other).tobytes()


def arguments(
    args: list[Any], spec: dict[str, Any], at_end: bool
) -> tuple[list[Any], dict[str, Place], list[tuple[int, int, str]]]:
    """The call's arguments, the places of its tensors by name, and all guards. What the op only reads is read-only."""
    values, places, guards = [], {}, []
    for declared, arg in zip(spec["args"], args, strict=True):
        if not isinstance(arg, RecordedTensor):
            values.append(arg)
            continue
        place = places[declared["name"]] = Place(arg, at_end)
        is_written = bool(declared.get("writes"))
        guards += place.guards(declared["name"], is_written)
        if not is_written:
            place.read_only()
        values.append(place.array)
    return values, places, guards
