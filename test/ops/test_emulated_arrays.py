"""Device memory by DLPack and __cuda_array_interface__, and the stream of a call; on the emulated library."""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np
import opswap
import pytest

DEVICE_TYPE = 8  # offset in DLManagedTensor, behind the data pointer
pointer_of = ctypes.PYFUNCTYPE(ctypes.c_void_p, ctypes.py_object, ctypes.c_char_p)(
    ("PyCapsule_GetPointer", ctypes.pythonapi)
)


class DLPackArray:
    """A producer whose memory is numpy's and whose device is CUDA's `device`."""

    def __init__(self, array: np.ndarray, device: int = 0) -> None:
        self.array, self.device, self.streams = array, device, []

    def __dlpack_device__(self) -> tuple[int, int]:
        return 2, self.device

    def __dlpack__(self, stream: int) -> Any:
        self.streams.append(stream)
        capsule = self.array.__dlpack__()
        place = pointer_of(capsule, b"dltensor") + DEVICE_TYPE
        (ctypes.c_int32 * 2).from_address(place)[:] = [2, self.device]
        return capsule


class CudaArray:
    """The same by __cuda_array_interface__."""

    def __init__(self, array: np.ndarray, **more: Any) -> None:
        self.array = array
        self.__cuda_array_interface__ = {
            "data": (array.ctypes.data, False),
            "shape": array.shape,
            "strides": None if array.flags.c_contiguous else array.strides,
            "typestr": array.dtype.str,
            "version": 3,
            **more,
        }


def arguments() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(1)
    wide, w = rng.standard_normal((5, 70)).astype(np.float32), rng.standard_normal(64).astype(np.float32)
    x = wide[:, :64]  # rows with a gap
    expected = x / np.sqrt((x.astype(np.float64) ** 2).mean(-1, keepdims=True) + 1e-6) * w
    return np.full((5, 64), np.nan, np.float32), x, w, expected


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The stream handles that reached the library."""
    handles: list[int] = []
    real = opswap._opswap.call

    def call(op: str, args: list, impl: str | None, stream: int, *rest: Any) -> None:
        handles.append(stream)
        real(op, args, impl, stream, *rest)

    monkeypatch.setattr(opswap._opswap, "call", call)
    return handles


def run(*args: Any, **how: Any) -> None:
    opswap.call("rms_norm", *args, 1e-6, impl="sm90", **how)


@pytest.mark.parametrize("kind", [DLPackArray, CudaArray])
def test_device_arrays_run(kind: type) -> None:
    out, x, w, expected = arguments()
    run(kind(out), kind(x), kind(w))
    np.testing.assert_allclose(out, expected, rtol=1e-5, atol=1e-5)


def test_a_dlpack_producer_is_told_of_the_stream(seen: list[int]) -> None:
    out, x, w, _ = arguments()
    args = [DLPackArray(v) for v in (out, x, w)]
    run(*args)
    run(*args, stream=0x5EED)
    assert [a.streams for a in args] == [[1, 0x5EED]] * 3  # 1 is DLPack's name for the default stream
    assert seen == [0, 0x5EED]


def test_the_stream_of_a_cuda_array_is_used_unless_one_is_given(seen: list[int]) -> None:
    out, x, w, _ = arguments()
    args = [CudaArray(out), CudaArray(x, stream=0x5EED), CudaArray(w, stream=None)]
    run(*args)
    run(*args, stream=type("Stream", (), {"cuda_stream": 7})())
    run(*args, stream=type("Stream", (), {"__cuda_stream__": lambda self: (0, 9)})())
    assert seen == [0x5EED, 7, 9]


def test_two_streams_are_refused() -> None:
    out, x, w, _ = arguments()
    with pytest.raises(opswap.OpswapError, match="the arguments belong to 2 streams; say which by stream=") as caught:
        run(CudaArray(out, stream=5), CudaArray(x, stream=6), CudaArray(w))
    assert caught.value.code == "OPSWAP_E_ARGUMENT"
    with pytest.raises(opswap.OpswapError, match="stream is a str, needs a handle, a torch stream or __cuda_stream__"):
        run(CudaArray(out), CudaArray(x), CudaArray(w), stream="default")


def test_another_device_is_refused() -> None:
    out, x, w, _ = arguments()
    with pytest.raises(opswap.OpswapError, match="weight is on cuda:1, the first tensor is on cuda:0"):
        run(DLPackArray(out), DLPackArray(x), DLPackArray(w, device=1))
    with pytest.raises(opswap.OpswapError, match="the emulator has one device, number 0"):
        run(*(DLPackArray(v, device=3) for v in (out, x, w)))


def test_a_type_that_the_interface_cannot_name_is_refused() -> None:
    out, x, w, _ = arguments()
    with pytest.raises(opswap.OpswapError, match=r"typestr <V2.*others come through DLPack") as caught:
        run(CudaArray(out, typestr="<V2"), CudaArray(x), CudaArray(w))
    assert caught.value.code == "OPSWAP_E_DTYPE"
