"""libopswap's C ABI by ctypes: on a card's machine there is the library, and nothing else of the project is built."""

from __future__ import annotations

import ctypes as c
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from .places import DTYPES

CPU, CUDA = 1, 2  # DLPack's device types
NONE, TENSOR, INT, FLOAT, BOOL, STRING = 0, 1, 3, 4, 5, 6


class DLDataType(c.Structure):
    _fields_ = [("code", c.c_uint8), ("bits", c.c_uint8), ("lanes", c.c_uint16)]


class DLTensor(c.Structure):
    _fields_ = [
        ("data", c.c_void_p),
        ("device_type", c.c_int32),
        ("device_id", c.c_int32),
        ("ndim", c.c_int32),
        ("dtype", DLDataType),
        ("shape", c.POINTER(c.c_int64)),
        ("strides", c.POINTER(c.c_int64)),
        ("byte_offset", c.c_uint64),
    ]


class Value(c.Union):
    _fields_ = [("tensor", c.POINTER(DLTensor)), ("i", c.c_int64), ("f", c.c_double), ("s", c.c_char_p)]


class Arg(c.Structure):
    _fields_ = [("tag", c.c_int32), ("reserved", c.c_int32), ("v", Value)]


class Exec(c.Structure):
    _fields_ = [
        ("struct_size", c.c_uint32),
        ("sm_budget", c.c_int32),
        ("stream", c.c_void_p),
        ("workspace", c.c_void_p),
        ("workspace_size", c.c_size_t),
        ("plan", c.c_void_p),
        ("plan_size", c.c_size_t),
        ("impl", c.c_char_p),
    ]


class Version(c.Structure):
    _fields_ = [
        ("struct_size", c.c_uint32),
        ("abi_major", c.c_int32),
        ("abi_minor", c.c_int32),
        ("manifest_schema", c.c_int32),
        ("pack_version", c.c_char_p),
        ("build_digest", c.c_char_p),
        ("cpu_isa", c.c_char_p),
        ("device_status", c.c_char_p),
    ]


class LibraryError(Exception):
    """What the library answered instead of doing the call."""


@dataclass(frozen=True)
class Memory:
    """A tensor argument by address; strides in elements."""

    data: int
    dtype: str
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    device_type: int


@cache
def dtype_codes() -> dict[str, tuple[int, int]]:
    """DLPack's type code and bits by the name of the dtype."""
    rows = re.findall(r"^X\((\w+), (\d+), (\d+),", DTYPES.read_text(), re.M)
    return {name.rstrip("_"): (int(code), int(bits)) for name, code, bits in rows}


class Arguments:
    """The packed array of one call; keeps what it points to."""

    def __init__(self, kinds: Sequence[str], values: Sequence[Any]) -> None:
        self.array = (Arg * len(values))()
        self._kept: list[Any] = []
        for slot, kind, value in zip(self.array, kinds, values, strict=True):
            self._fill(slot, kind, value)

    def _fill(self, slot: Arg, kind: str, value: Any) -> None:
        if value is None:
            slot.tag = NONE
        elif isinstance(value, Memory):
            slot.tag, slot.v.tensor = TENSOR, c.pointer(self._tensor(value))
        elif kind == "float":
            slot.tag, slot.v.f = FLOAT, float(value)
        elif kind == "string":
            slot.tag, slot.v.s = STRING, str(value).encode()
        else:
            slot.tag, slot.v.i = BOOL if kind == "bool" else INT, int(value)

    def _tensor(self, m: Memory) -> DLTensor:
        shape, strides = ((c.c_int64 * max(len(n), 1))(*n) for n in (m.shape, m.strides))
        kind = DLDataType(*dtype_codes()[m.dtype], 1)
        tensor = DLTensor(m.data, m.device_type, 0, len(m.shape), kind, shape, strides, 0)
        self._kept += [shape, strides, tensor]
        return tensor


class Library:
    def __init__(self, path: Path) -> None:
        self._lib = c.CDLL(str(path))
        for name in ("opswap_manifest", "opswap_last_error"):
            getattr(self._lib, name).restype = c.c_char_p
        self._lib.opswap_status_name.restype = c.c_char_p
        manifest = json.loads(self._lib.opswap_manifest())
        self.made: dict[str, str] = manifest["pack"]
        self.ops = {op["op"]: op for op in manifest["ops"]}

    @property
    def device_status(self) -> str:
        version = Version(struct_size=c.sizeof(Version))
        self._check(self._lib.opswap_get_version(c.byref(version)))
        return version.device_status.decode()

    def _check(self, status: int) -> None:
        if status:
            name = self._lib.opswap_status_name(status).decode()
            raise LibraryError(f"{name}: {self._lib.opswap_last_error().decode()}")

    def pack(self, op: str, values: Sequence[Any]) -> Arguments:
        return Arguments([a["kind"] for a in self.ops[op]["args"]], values)

    def workspace_size(self, op: str, args: Arguments, impl: str) -> int:
        size = c.c_size_t()
        run = Exec(struct_size=c.sizeof(Exec), impl=impl.encode())
        name = op.encode()
        self._check(self._lib.opswap_workspace_size(name, args.array, len(args.array), c.byref(run), c.byref(size)))
        return size.value

    def call(
        self,
        op: str,
        args: Arguments,
        impl: str,
        stream: int = 0,
        workspace: tuple[int, int] = (0, 0),
        sm_budget: int = 0,
        plan: bytes = b"",
    ) -> None:
        kept = c.create_string_buffer(plan, len(plan))
        place = c.cast(kept, c.c_void_p) if plan else None
        run = Exec(c.sizeof(Exec), sm_budget, stream, workspace[0], workspace[1], place, len(plan), impl.encode())
        self._check(self._lib.opswap_call(op.encode(), args.array, len(args.array), c.byref(run)))

    def plan_ways(self, op: str, args: Arguments, impl: str, device: str | None) -> dict:
        """The ways to plan this call, with their modelled cycles on `device`; None: on the one that is there."""
        run, size = Exec(struct_size=c.sizeof(Exec), impl=impl.encode()), c.c_size_t(1 << 20)
        text = c.create_string_buffer(size.value)
        of = device.encode() if device else None
        told = self._lib.opswap_plan_ways
        self._check(told(op.encode(), args.array, len(args.array), c.byref(run), of, text, c.byref(size)))
        return json.loads(text.value)

    def plan_as(self, op: str, args: Arguments, impl: str, way: str) -> bytes:
        """A plan of one of these ways."""
        run, size = Exec(struct_size=c.sizeof(Exec), impl=impl.encode()), c.c_size_t(1 << 16)
        plan = c.create_string_buffer(size.value)
        told = self._lib.opswap_plan_as
        self._check(told(op.encode(), args.array, len(args.array), c.byref(run), way.encode(), plan, c.byref(size)))
        return plan.raw[: size.value]

    def why(self, op: str, args: Arguments | None = None) -> dict:
        size = c.c_size_t(1 << 20)
        text = c.create_string_buffer(size.value)
        array, count = (args.array, len(args.array)) if args else (None, 0)
        self._check(self._lib.opswap_why(op.encode(), array, count, text, c.byref(size)))
        return json.loads(text.value)

    def sources(self, op: str) -> str:
        """Digest of what the op's kernels were compiled from; empty where the library has none of it."""
        return next((i["sources"] for i in self.why(op)["impls"] if "sources" in i), "")

    def refusal(self, op: str, args: Arguments, impl: str) -> str | None:
        """Why `impl` cannot take these arguments, in the library's words."""
        found = next((i for i in self.why(op, args)["impls"] if i["name"] == impl), None)
        if found is None:
            return f"the library has no {impl} of it"
        return None if found["usable"] else found["reason"]
