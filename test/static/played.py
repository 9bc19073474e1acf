"""libopswap linked with the played CUDA runtime (played_cudart.cpp), and its queues as Python has them."""

from __future__ import annotations

import ctypes
import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
from card.evidence.abi import CUDA, Library, Memory
from house.rules import ROOT

CALL, SIDE, READY, DONE = 0x100, 0x200, 0x300, 0x400  # the stream of calls, another one, and two events
MADE = 0x10000  # the first event of the library's own, with which it times calls


class Played:
    """The C ABI of the linked library, and the queues behind it."""

    def __init__(self, path: Path) -> None:
        self.library = Library(path)
        self.lib = ctypes.CDLL(str(path))
        self.works: dict[tuple[bytes, str], Callable[[list[int], int], int]] = {}
        self.kept: list[object] = []  # what the library or a stream points to
        self.lib.played_done.restype = ctypes.c_char_p
        self.lib.played_held.restype = ctypes.c_size_t

    def reset(self) -> None:
        self.lib.played_reset()

    def run(self, stream: int) -> None:
        self.lib.played_run(ctypes.c_void_p(stream))

    def capture(self, stream: int) -> None:
        self.lib.played_capture(ctypes.c_void_p(stream))

    def wait(self, stream: int, event: int) -> None:
        assert self.lib.cudaStreamWaitEvent(ctypes.c_void_p(stream), ctypes.c_void_p(event), 0) == 0

    @property
    def done(self) -> list[str]:
        """What streams have done, but for the library's own timing."""
        lines = self.lib.played_done().decode().splitlines()
        return [line for line in lines if not (line.startswith("record") and int(line.split()[1]) >= MADE)]

    @property
    def unsafe(self) -> int:
        """Questions that would have ended a capture."""
        return self.lib.played_unsafe()

    @property
    def made(self) -> int:
        """Events of the library's own."""
        return self.lib.played_events()

    @property
    def held(self) -> int:
        """Bytes that the library has allocated."""
        return self.lib.played_held()

    @property
    def allocated_by_player(self) -> int:
        """How often the thread that calls has allocated."""
        return self.lib.played_allocated_by_player()

    def refuse_memory(self, refuse: bool) -> None:
        self.lib.played_refuse_memory(refuse)

    def kernels_take(self, ms: float) -> None:
        self.lib.played_kernels_take(ctypes.c_float(ms))

    def forget_times(self) -> None:
        self.lib.opswap_reset_stats()

    def times(self, op: str, impl: str = "sm90") -> dict:
        size = ctypes.c_size_t(1 << 20)
        text = ctypes.create_string_buffer(size.value)
        assert self.lib.opswap_stats(text, ctypes.byref(size)) == 0
        (row,) = (row for row in json.loads(text.value)["ops"] if row["op"] == op)
        return next(i for i in row["impls"] if i["name"] == impl)

    @property
    def sms(self) -> int:
        return self.lib.played_sms()

    def blocks(self, op: str, values: list, sm_budget: int) -> int:
        """Blocks of the call's last kernel; arrays are contiguous and of at most two dimensions, bytes are codes."""

        def placed(a: np.ndarray) -> Memory:
            dtype = "float8_e4m3fn" if a.dtype == np.uint8 else str(a.dtype)
            return Memory(a.ctypes.data, dtype, a.shape, (a.shape[-1], 1)[-a.ndim :], CUDA)

        args = self.library.pack(op, [placed(v) if isinstance(v, np.ndarray) else v for v in values])
        self.library.call(op, args, "sm90", CALL, sm_budget=sm_budget)
        return self.lib.played_blocks()

    def norm(self, out: np.ndarray, x: np.ndarray, weight: np.ndarray, sm_budget: int) -> int:
        return self.blocks("rms_norm", [out, x, weight, 1e-6], sm_budget)

    def copy(self, out: Memory, source: Memory) -> None:
        self.library.call("copy", self.library.pack("copy", [out, source]), "sm90", CALL)

    def copy_async(self, out: Memory, source: Memory, stream: int = SIDE, ready: int = READY, done: int = DONE) -> None:
        args = self.library.pack("copy_async", [out, source, stream, ready, done])
        self.library.call("copy_async", args, "sm90", CALL)


def link(folder: Path) -> Path:
    build = ROOT / "build/native-work"
    objects = [*build.glob("sm90/*.o"), *build.glob("CMakeFiles/opswap.dir/**/*.o")]
    cuda = Path(os.environ["OPSWAP_NVCC"]).resolve().parent.parent
    headers = [f"-isystem{cuda / p}" for p in ("include", "targets/x86_64-linux/include")]
    source, out = ROOT / "test/static/played_cudart.cpp", folder / "libplayed.so"
    command = ["g++", "-std=c++20", "-O1", "-shared", "-fPIC", "-Wl,-z,defs", *headers, str(source)]
    subprocess.run([*command, *map(str, objects), "-lpthread", "-o", str(out)], check=True)
    return out
