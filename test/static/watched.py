"""Implementations that work when a played stream comes to them, and the shadows and recordings that watch them."""

from __future__ import annotations

import ctypes as c
import json
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from card.evidence.abi import CUDA, TENSOR, Arg, Exec, Memory
from static.played import CALL, Played

WORK = c.CFUNCTYPE(c.c_int32, c.c_void_p, c.POINTER(Arg), c.c_int32, c.POINTER(Exec))
REFUSED = 19


class External(c.Structure):
    _fields_ = [
        ("struct_size", c.c_uint32),
        ("priority", c.c_int32),
        ("fn", WORK),
        ("ctx", c.c_void_p),
        ("absent_reason", c.c_char_p),
        ("toggle_class", c.c_char_p),
    ]


class Shadow(c.Structure):
    _fields_ = [
        ("struct_size", c.c_uint32),
        ("first_of_bucket", c.c_uint32),
        ("control", c.c_char_p),
        ("candidate", c.c_char_p),
        ("salt", c.c_uint64),
        ("share_of_calls", c.c_double),
        ("share_of_time", c.c_double),
        ("most_of_bucket", c.c_uint64),
        ("memory", c.c_uint64),
    ]


class Record(c.Structure):
    _fields_ = [
        ("struct_size", c.c_uint32),
        ("rank", c.c_int32),
        ("sequence", c.c_uint64),
        *((name, c.c_int64) for name in ("time_ns", "step", "epoch")),
        ("bucket", c.c_uint64),
        *((name, c.c_int32) for name in ("layer", "candidate_first")),
        *((name, c.c_int64) for name in ("control_ns", "candidate_ns")),
        *((name, c.c_int32) for name in ("control_status", "candidate_status", "candidate_overran", "floor_known")),
        *((name, c.c_uint64) for name in ("elements", "differing", "outside", "became_nonfinite")),
        *((name, c.c_double) for name in ("max_abs", "worst")),
        ("floor_differing", c.c_uint64),
        ("floor_worst", c.c_double),
    ]


class Recording(c.Structure):
    _fields_ = [
        ("struct_size", c.c_uint32),
        ("first_of_bucket", c.c_uint32),
        ("salt", c.c_uint64),
        ("share_of_calls", c.c_double),
        ("most_of_bucket", c.c_uint64),
        ("folder", c.c_char_p),
        ("most_bytes", c.c_uint64),
        ("memory", c.c_uint64),
    ]


# Tensors of a call by address, and the stream that it is given; what it answers is the status.
Work = Callable[["Watched", list[int], int], int]


class Watched:
    """One op, on arrays that count as memory of the device."""

    def __init__(self, played: Played, op: str) -> None:
        self.played, self.op = played, op.encode()
        self.lib = played.lib

    def register(self, name: str, work: Work) -> None:
        """The library has a name once; what it does may change."""
        key, works = (self.op, name), self.played.works
        known = key in works
        works[key] = lambda tensors, stream: work(self, tensors, stream)
        if known:
            return

        def run(_: object, args: object, count: int, run: object) -> int:
            tensors = [args[i].v.tensor.contents.data for i in range(count) if args[i].tag == TENSOR]
            return works[key](tensors, run.contents.stream or 0)

        external = External(c.sizeof(External), -1, WORK(run), None, None, None)
        self.played.kept.append(external)
        assert self.lib.opswap_register(self.op, name.encode(), c.byref(external)) == 0

    def give(self, stream: int, to: int, values: np.ndarray) -> None:
        """Work on the stream: values into memory."""
        self.played.kept.append(values)
        self.lib.played_give(c.c_void_p(stream), c.c_void_p(to), c.c_void_p(values.ctypes.data), values.nbytes)

    def shadow(self, control: str, candidate: str, memory: int = 1 << 20) -> None:
        config = Shadow(c.sizeof(Shadow), 0, control.encode(), candidate.encode(), 7, 1.0, 1.0, 1000, memory)
        assert self.lib.opswap_shadow_start(self.op, c.byref(config)) == 0

    def stop(self) -> None:
        assert self.lib.opswap_shadow_stop(self.op) == 0

    def record(self, folder: Path, memory: int = 1 << 20) -> None:
        config = Recording(c.sizeof(Recording), 0, 7, 1.0, 1000, str(folder).encode(), 1 << 30, memory)
        assert self.lib.opswap_record_start(self.op, c.byref(config)) == 0

    def stop_recording(self) -> None:
        assert self.lib.opswap_record_stop(self.op) == 0

    def call(self, arrays: list[np.ndarray], numbers: list[float], impl: str = "control") -> None:
        library = self.played.library
        self.played.kept.append(arrays)
        args = library.pack(self.op.decode(), [*map(on_device, arrays), *numbers])
        library.call(self.op.decode(), args, impl, CALL)

    @property
    def records(self) -> list[Record]:
        rows = (Record * 100)()
        rows[0].struct_size, count = c.sizeof(Record), c.c_uint64(100)
        assert self.lib.opswap_shadow_read(self.op, c.c_uint64(0), rows, c.byref(count)) == 0
        return list(rows[: count.value])

    def status(self, of: str = "shadow") -> dict:
        size = c.c_size_t(1 << 16)
        text = c.create_string_buffer(size.value)
        assert getattr(self.lib, f"opswap_{of}_status")(self.op, text, c.byref(size)) == 0
        return json.loads(text.value)

    def left_out(self, of: str = "shadow") -> dict[str, int]:
        return {why: calls for why, calls in self.status(of)["left_out"].items() if calls}


def on_device(array: np.ndarray) -> Memory:
    strides = tuple(step // array.itemsize for step in array.strides)
    return Memory(array.ctypes.data, str(array.dtype), array.shape, strides, CUDA)


def comes(what: Callable[[], bool]) -> bool:
    """Whether another thread brings it about, soon."""
    end = time.monotonic() + 20
    while not what() and time.monotonic() < end:
        time.sleep(0.002)
    return what()
