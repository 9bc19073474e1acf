"""Recordings: what a file says of a call is what the call was given, and a replay of it gives what the call gave."""

from __future__ import annotations

import json
import math
import struct
import time
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import opswap
import pytest
from opswap.errors import OpswapError
from rooms import Room, build, rooms

DTYPES = {
    "F64": np.float64,
    "F32": np.float32,
    "F16": np.float16,
    "BF16": ml_dtypes.bfloat16,
    "F8_E4M3": ml_dtypes.float8_e4m3fn,
    "F8_E5M2": ml_dtypes.float8_e5m2,
    "I64": np.int64,
    "I32": np.int32,
    "I8": np.int8,
    "U8": np.uint8,
    "BOOL": np.bool_,
}


def parse(path: Path) -> tuple[dict[str, str], dict[str, np.ndarray]]:
    """A safetensors file by its published format, without a library that might be lenient: no gap, aligned header."""
    data = path.read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    assert length % 8 == 0
    header = json.loads(data[8 : 8 + length])
    metadata, at, tensors = header.pop("__metadata__"), 0, {}
    for name, entry in header.items():
        begin, end = entry["data_offsets"]
        assert begin == at
        raw = np.frombuffer(data[8 + length + begin : 8 + length + end], DTYPES[entry["dtype"]])
        tensors[name], at = raw.reshape(entry["shape"]), end
    assert 8 + length + at == len(data)
    return metadata, tensors


def record(folder: Path, op: str, args: list[Any]) -> Path:
    opswap.record_start(op, folder, share_of_calls=1.0)
    opswap.call(op, *args)
    opswap.record_stop(op)
    deadline = time.monotonic() + 60
    while opswap.record_status(op)["files"] == 0:
        assert not opswap.record_status(op)["ended_by"] and time.monotonic() < deadline
        time.sleep(0.001)
    (path,) = folder.iterdir()
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    tmp_path.chmod(0o700)
    return tmp_path


def first_case(room: Room) -> tuple[dict, dict[str, str]]:
    return next(c for c in room.spec["cases"] if all(v for k, v in c.items() if k.isupper())), room.type_choices()[-1]


def replayed(metadata: dict[str, str], tensors: dict[str, np.ndarray]) -> list[Any]:
    """The arguments of the recorded call, in order, in contiguous memory of their own."""
    args: list[Any] = []
    for arg in json.loads(metadata["args"]):
        if "dtype" in arg:
            stored = tensors.get(arg["name"])
            numpy_name = {"bfloat16": ml_dtypes.bfloat16, "float8_e4m3fn": ml_dtypes.float8_e4m3fn}
            dtype = numpy_name.get(arg["dtype"], arg["dtype"].rstrip("_"))
            args.append(np.empty(arg["shape"], dtype) if stored is None else stored.copy())
            assert arg["stored"] == (stored is not None)
        else:
            args.append(arg["value"])
    return args


def _is_index(room: Room, cut: dict[str, list[int]], name: str) -> bool:
    """Whether an argument is renumbered because tensors are cut by it."""
    blocks = json.loads((room.path / "op.json").read_text()).get("blocks", {})
    return any(said.split()[0] == name for tensor, said in blocks.items() if tensor in cut)


@pytest.mark.parametrize("room", rooms(), ids=lambda r: r.name)
def test_a_recorded_call_can_be_made_again(room: Room, folder: Path) -> None:
    case, types = first_case(room)
    before = build(room, case, types)
    live = build(room, case, types)
    metadata, tensors = parse(record(folder, room.name, list(live.values())))
    assert (metadata["op"], metadata["op_version"]) == (room.name, str(room.spec["version"]))
    assert metadata["build_digest"] == opswap.version()["build_digest"]
    entries = {a["name"]: a["entries"] for a in json.loads(metadata["args"]) if "entries" in a}
    for name, stored in tensors.items():
        if not _is_index(room, entries, name):
            wanted = np.ascontiguousarray(before[name][entries.get(name, slice(None))])
            np.testing.assert_array_equal(stored.view(np.uint8), wanted.view(np.uint8))
    read = [a["name"] for a in room.args if a["kind"] == "tensor" and (not a.get("writes") or a.get("reads"))]
    assert sorted(tensors) == sorted(name for name in read if before[name] is not None)
    again = replayed(metadata, tensors)
    opswap.call(room.name, *again)
    for arg, value in zip(room.args, again, strict=True):
        if arg.get("writes") and value is not None:
            wanted = np.ascontiguousarray(live[arg["name"]][entries.get(arg["name"], slice(None))])
            np.testing.assert_array_equal(value.view(np.uint8), wanted.view(np.uint8))


def test_strides_and_numbers_that_json_has_not(folder: Path) -> None:
    wide = np.arange(60, dtype=np.float32).reshape(3, 20)
    out = np.empty((3, 8), np.float32)
    metadata, tensors = parse(record(folder, "rms_norm", [out, wide[:, 4:12], np.ones(8, np.float32), math.inf]))
    args = {a["name"]: a for a in json.loads(metadata["args"])}
    assert args["input"]["strides"] == [20, 1] and args["input"]["shape"] == [3, 8]
    np.testing.assert_array_equal(tensors["input"], wide[:, 4:12])
    assert args["epsilon"]["value"] == "inf"


def test_a_folder_that_others_may_read_is_refused(folder: Path) -> None:
    folder.chmod(0o755)
    with pytest.raises(OpswapError, match=r"mode 0755, needs a folder of your own with mode 0700"):
        opswap.record_start("silu", folder)
