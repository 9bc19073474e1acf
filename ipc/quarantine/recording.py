"""Reads a recording (docs/recordings.md), which may be cut, edited or another file altogether."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..arrays import Array, dtype_named, np
from ..errors import IpcError

#: A header of the library is a few KB; what is larger is none of its.
MOST_HEADER = 1 << 20
MOST_ARGUMENTS, MOST_DIMENSIONS = 64, 8
NUMBERS = {"inf": float("inf"), "-inf": float("-inf"), "nan": float("nan"), "-nan": float("nan")}
DTYPES = {
    **{"float64": "F64", "float32": "F32", "float16": "F16", "bfloat16": "BF16"},
    **{"int64": "I64", "int32": "I32", "int8": "I8", "uint8": "U8", "bool": "BOOL"},
    **{"float8_e4m3fn": "F8_E4M3", "float8_e5m2": "F8_E5M2"},
}


@dataclass(frozen=True)
class RecordedTensor:
    """`values` are row-major, and None where the op only writes the tensor; strides in elements."""

    dtype: str
    shape: list[int]
    strides: list[int]
    values: Array | None


@dataclass(frozen=True)
class Recording:
    """One call; `args` in call order."""

    op: str
    bucket: str
    args: list[Any]


def refused(file: Path, problem: str) -> IpcError:
    return IpcError("OPSWAP_E_TENSOR_FILE", f"{file}: {problem}", "record the op again")


def read_recording(file: Path, spec: dict[str, Any], most_bytes: int) -> Recording:
    """A recorded call of the op that `spec`, the manifest's entry, declares.

    Raises IpcError TENSOR_FILE where the file is no such recording, or would need more than `most_bytes`.
    """
    try:
        with file.open("rb") as opened:
            header, body = _parts(file, opened, most_bytes)
    except OSError as error:
        raise refused(file, str(error.strerror)) from error
    texts = header.get("__metadata__")
    if not isinstance(texts, dict) or texts.get("opswap_recording") != "1":
        raise refused(file, "is no recording: it has no opswap_recording of 1")
    if texts.get("op") != spec["op"]:
        raise refused(file, f"is a recording of {texts.get('op')!r}, not of {spec['op']}")
    if texts.get("op_version") != str(spec["version"]):
        version = texts.get("op_version")
        raise refused(file, f"was recorded with version {version} of {spec['op']}, here is {spec['version']}")
    told = _told(file, texts, spec)
    return Recording(spec["op"], str(texts.get("bucket"))[:256], [_argument(file, each, header, body) for each in told])


def _parts(file: Path, opened: Any, most_bytes: int) -> tuple[dict[str, Any], bytes]:
    """The header, and the bytes behind it; sizes are compared with the file's before anything is read."""
    size = os.fstat(opened.fileno()).st_size
    length = int.from_bytes(opened.read(8), "little")
    if size < 8 or length > min(MOST_HEADER, size - 8):
        raise refused(file, f"claims a header of {length} bytes; it has {size}, and a header has {MOST_HEADER} at most")
    if size > most_bytes:
        raise refused(file, f"has {size} bytes, and {most_bytes} are taken")
    try:
        header = json.loads(opened.read(length))
    except (ValueError, RecursionError) as error:
        raise refused(file, "has a header that is not JSON") from error
    if not isinstance(header, dict):
        raise refused(file, "has a header that is no map")
    ends = [each["data_offsets"][1] for each in header.values() if _is_entry(each)]
    body = opened.read(size)
    if len(body) != max(ends, default=0):
        raise refused(file, f"has {len(body)} bytes of tensors, its header says {max(ends, default=0)}: it was cut")
    return header, body


def _is_entry(value: Any) -> bool:
    offsets = value.get("data_offsets") if isinstance(value, dict) else None
    return isinstance(offsets, list) and len(offsets) == 2 and all(_is_size(each) for each in offsets)


def _is_size(value: Any) -> bool:
    return type(value) is int and 0 <= value < 1 << 53


def _told(file: Path, texts: dict[str, Any], spec: dict[str, Any]) -> list[dict[str, Any]]:
    """What the metadata says of each argument, which are those of the op."""
    try:
        told = json.loads(texts["args"])
        names = [each["name"] for each in told[: MOST_ARGUMENTS + 1]]
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise refused(file, "has arguments in its metadata that cannot be read") from error
    wanted = [arg["name"] for arg in spec["args"]]
    if names != wanted:
        raise refused(file, f"has the arguments {names}, the op has {wanted}")
    return list(told)


def _argument(file: Path, told: dict[str, Any], header: dict[str, Any], body: bytes) -> Any:
    if "value" in told:
        return NUMBERS.get(told["value"], told["value"]) if isinstance(told["value"], str) else told["value"]
    name, dtype, shape, strides = (told.get(key) for key in ("name", "dtype", "shape", "strides"))
    sizes = [*shape, *strides] if isinstance(shape, list) and isinstance(strides, list) else [None]
    if dtype not in DTYPES or not all(_is_size(n) for n in sizes) or len(shape) != len(strides) or _too_wide(shape):
        raise refused(file, f"says something of {name} that is no tensor")
    if not told.get("stored"):
        return RecordedTensor(dtype, shape, strides, None)
    found = header.get(str(name))
    count = int(np.prod(shape, dtype=object)) * dtype_named(dtype).itemsize
    begin, end = found["data_offsets"] if _is_entry(found) else (0, -1)
    if (
        not _is_entry(found)
        or (found.get("dtype"), found.get("shape")) != (DTYPES[dtype], shape)
        or end - begin != count
    ):
        raise refused(file, f"says that {name} is {dtype} {shape}, and does not hold it")
    return RecordedTensor(dtype, shape, strides, np.frombuffer(body[begin:end], dtype_named(dtype)).reshape(shape))


def _too_wide(shape: list[int]) -> bool:
    return len(shape) > MOST_DIMENSIONS
