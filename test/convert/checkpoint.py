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
    "I32": np.dtype(np.int32),
    "I16": np.dtype(np.int16),
    "I8": np.dtype(np.int8),
    "U8": np.dtype(np.uint8),
    "F8_E4M3": np.dtype(ml_dtypes.float8_e4m3fn),
    "F8_E5M2": np.dtype(ml_dtypes.float8_e5m2),
    "F8_E4M3FNUZ": np.dtype(ml_dtypes.float8_e4m3fnuz),
    "F8_E5M2FNUZ": np.dtype(ml_dtypes.float8_e5m2fnuz),
    "F8_E8M0": np.dtype(ml_dtypes.float8_e8m0fnu),
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
    command = ["node", str(ROOT / "dist/opswap.cjs"), "convert", *map(str, args)]
    return subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ})


def fp8_block128(weight: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What the layout means: scale = max(amax, 1e-12) / 448 in float32, code = e4m3(x / scale), nearest even."""
    return fp8(weight, 128, 128)


def fp8(weight: np.ndarray, high: int, wide: int) -> tuple[np.ndarray, np.ndarray]:
    """The same for blocks of another size."""
    x = weight.astype(np.float32)
    rows, columns = x.shape
    scales = np.zeros((-(-rows // high), -(-columns // wide)), np.float32)
    codes = np.zeros(x.shape, ml_dtypes.float8_e4m3fn)
    for i, j in np.ndindex(scales.shape):
        area = np.s_[high * i : high * i + high, wide * j : wide * j + wide]
        scale = np.maximum(np.abs(x[area]).max(), np.float32(1e-12)) / np.float32(448)
        scales[i, j] = scale
        codes[area] = (x[area] / scale).astype(ml_dtypes.float8_e4m3fn)
    return codes, scales


def _bf16(x: np.ndarray) -> np.ndarray:
    return x.astype(ml_dtypes.bfloat16).astype(np.float32)


def _squared_error(groups: np.ndarray, scale: np.ndarray, importance: np.ndarray | None) -> np.ndarray:
    """Of each group, as the layout's page says: by the reciprocal, summed over 16 lanes, which are added in halves."""
    y = groups * (np.float32(1) / scale)[..., None]
    error = np.clip(np.rint(y), -8, 7) - y
    lanes = np.zeros((*scale.shape, 16), np.float32)
    squares = error * error if importance is None else importance.reshape(-1, 128) * (error * error)
    for i in range(0, 128, 16):
        lanes += squares[..., i : i + 16]
    while lanes.shape[-1] > 1:
        half = lanes.shape[-1] // 2
        lanes = lanes[..., :half] + lanes[..., half:]
    return lanes[..., 0].astype(np.float64) * scale * scale


def int4(weight: np.ndarray, rule: str, importance: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    """What the W4A8 layouts mean: codes from -8 to 7, and a scale, a bfloat16 number, for each group of 128 columns.

    `importance`, of each column, is what errors count.
    """
    x = weight.astype(np.float32)
    groups = x.reshape(x.shape[0], -1, 128)
    amax = np.maximum(np.abs(groups).max(-1), np.float32(1e-12))
    scales = _bf16(amax / np.float32(7.5))
    if rule == "mse":
        tried = [_bf16(amax / (np.float32(300) / np.float32(20 + i))) for i in range(25)]
        best = np.argmin([_squared_error(groups, scale, importance) for scale in tried], axis=0)
        scales = np.take_along_axis(np.stack(tried), best[None], 0)[0]
    codes = np.clip(np.rint(groups / scales[..., None]), -8, 7).astype(np.int8)
    return codes.reshape(x.shape), scales


def nibbles(codes: np.ndarray) -> np.ndarray:
    """Two to a byte, the even column in its low half, in two's complement."""
    return ((codes[:, ::2] & 15) | (codes[:, 1::2] << 4)).astype(np.uint8)
