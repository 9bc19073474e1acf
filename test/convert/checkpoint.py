"""Checkpoints for tests, written and read with numpy alone, so that the converter does not check itself."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import ml_dtypes
import numpy as np

ROOT = Path(__file__).resolve().parents[2]
DTYPES = {
    "BF16": np.dtype(ml_dtypes.bfloat16),
    "F16": np.dtype(np.float16),
    "F32": np.dtype(np.float32),
    "F64": np.dtype(np.float64),
    "I64": np.dtype(np.int64),
    "U8": np.dtype(np.uint8),
    "F8_E4M3": np.dtype(ml_dtypes.float8_e4m3fn),
}
NAMES = {dtype: name for name, dtype in DTYPES.items()}


def write(file: Path, tensors: dict[str, np.ndarray]) -> None:
    header: dict[str, object] = {"__metadata__": {"format": "pt"}}
    end = 0
    for name, array in tensors.items():
        begin, end = end, end + array.nbytes
        header[name] = {"dtype": NAMES[array.dtype], "shape": list(array.shape), "data_offsets": [begin, end]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    body = b"".join(np.ascontiguousarray(array).tobytes() for array in tensors.values())
    file.write_bytes(len(text).to_bytes(8, "little") + text + body)


def read(file: Path) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    data = file.read_bytes()
    start = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(data[8:start])
    metadata = header.pop("__metadata__", {})
    tensors = {}
    for name, entry in header.items():
        begin, end = entry["data_offsets"]
        dtype = DTYPES[entry["dtype"]]
        assert begin % dtype.itemsize == 0, f"{name} is not aligned"
        tensors[name] = np.frombuffer(data[start + begin : start + end], dtype).reshape(entry["shape"])
    return tensors, metadata


def opswap(*args: object) -> subprocess.CompletedProcess[str]:
    command = ["node", str(ROOT / "dist/cli.js"), "convert", *map(str, args)]
    return subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ})


def fp8_block128(weight: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What the layout means: scale = max(amax, 1e-12) / 448 in float32, code = e4m3(x / scale), nearest even."""
    x = weight.astype(np.float32)
    rows, columns = x.shape
    scales = np.zeros((-(-rows // 128), -(-columns // 128)), np.float32)
    codes = np.zeros(x.shape, ml_dtypes.float8_e4m3fn)
    for i, j in np.ndindex(scales.shape):
        area = np.s_[128 * i : 128 * i + 128, 128 * j : 128 * j + 128]
        scale = np.maximum(np.abs(x[area]).max(), np.float32(1e-12)) / np.float32(448)
        scales[i, j] = scale
        codes[area] = (x[area] / scale).astype(ml_dtypes.float8_e4m3fn)
    return codes, scales
