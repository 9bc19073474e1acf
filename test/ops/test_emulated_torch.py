"""Torch tensors of a CUDA device through torch.ops.opswap and opswap.call, on the emulated library.

The tensors name CUDA device 0 and point to host memory: torch makes such tensors without a card, and computes nothing
with them. Its own streams need a card, so a stand-in names the current one.
"""

from __future__ import annotations

import ctypes
import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import opswap
import pytest
import torch
from opswap import torch_ops

STREAM = 0x5EED
STAND_IN = f"""
extern "C" int aoti_torch_get_current_cuda_stream(int device, void **stream) {{
  *stream = reinterpret_cast<void *>({STREAM});
  return device != 0;
}}
"""


@pytest.fixture(scope="module", autouse=True)
def _registered(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder: Path = tmp_path_factory.mktemp("streams")
    (folder / "streams.cpp").write_text(STAND_IN)
    library = folder / "streams.so"
    subprocess.run(["g++", "-shared", "-fPIC", str(folder / "streams.cpp"), "-o", str(library)], check=True)
    ctypes.CDLL(str(library))
    torch_ops.STREAMS = library
    torch_ops.register()


def on_device(host: torch.Tensor, index: int = 0) -> torch.Tensor:
    """A tensor of CUDA device `index` over the same memory."""
    device = torch.device("cuda", index)
    storage = torch._C._construct_storage_from_data_pointer(host.data_ptr(), device, host.untyped_storage().nbytes())
    metadata = {
        "size": host.size(),
        "stride": host.stride(),
        "storage_offset": 0,
        "dtype": host.dtype,
        "device": device,
        "requires_grad": False,
    }
    return torch._C._construct_CUDA_Tensor_From_Storage_And_Metadata(metadata, storage)


def arguments(dtype: torch.dtype = torch.float32) -> list[torch.Tensor]:
    torch.manual_seed(1)
    return [torch.full((5, 64), torch.nan, dtype=dtype), torch.randn(5, 64).to(dtype), torch.randn(64).to(dtype)]


def expected(x: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
    x, w = x.double(), w.double()
    return x / torch.sqrt(x.square().mean(-1, keepdim=True) + 1e-6) * w


class Exec(ctypes.Structure):
    """The start of opswap_exec."""

    _fields_ = (("struct_size", ctypes.c_uint32), ("sm_budget", ctypes.c_int32), ("stream", ctypes.c_void_p))


REPORTER = ctypes.CFUNCTYPE(ctypes.c_int32, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int32, ctypes.POINTER(Exec))


class External(ctypes.Structure):
    """opswap_external."""

    _fields_ = (
        ("struct_size", ctypes.c_uint32),
        ("priority", ctypes.c_int32),
        ("fn", REPORTER),
        ("ctx", ctypes.c_void_p),
        ("absent_reason", ctypes.c_char_p),
    )


streams: list[int] = []


@REPORTER
def report(_ctx: int, _args: int, _count: int, how: Any) -> int:
    """An implementation that only tells on which stream it was called."""
    streams.append(how[0].stream or 0)
    return 0


@pytest.fixture(scope="module")
def reports(_registered: None) -> str:
    maps = Path("/proc/self/maps").read_text().splitlines()
    loaded = next(line.split()[-1] for line in maps if "libopswap.so" in line)
    external = External(ctypes.sizeof(External), -1, report, None, None)
    assert ctypes.CDLL(loaded).opswap_register(b"rms_norm", b"reports", ctypes.byref(external)) == 0
    return "reports"


def operator(*args: torch.Tensor) -> None:
    torch.ops.opswap.rms_norm(*args, 1e-6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_the_operator_takes_cuda_tensors(dtype: torch.dtype) -> None:
    opswap.use("rms_norm", "sm90")
    out, x, w = arguments(dtype)
    operator(on_device(out), on_device(x), on_device(w))
    torch.testing.assert_close(out.double(), expected(x, w), rtol=1.6e-2, atol=1e-3)


def test_a_direct_call_takes_cuda_tensors() -> None:
    out, x, w = arguments()
    opswap.call("rms_norm", *map(on_device, (out, x, w)), 1e-6, impl="sm90", stream=0)
    torch.testing.assert_close(out.double(), expected(x, w), rtol=1e-5, atol=1e-5)


def test_the_current_stream_reaches_the_implementation(reports: str) -> None:
    opswap.use("rms_norm", reports)
    streams.clear()
    operator(*map(on_device, arguments()))
    operator(*arguments())
    assert streams == [STREAM, 0]  # host tensors have none


def test_a_direct_call_asks_torch_for_the_current_stream(reports: str, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[torch.device] = []

    def current_stream(device: torch.device) -> Any:
        asked.append(device)
        return SimpleNamespace(cuda_stream=77)

    monkeypatch.setattr(torch.cuda, "current_stream", current_stream)
    streams.clear()
    opswap.call("rms_norm", *map(on_device, arguments()), 1e-6, impl=reports)
    assert streams == [77] and set(asked) == {torch.device("cuda", 0)}


def test_a_device_without_a_stream_is_an_error() -> None:
    with pytest.raises(RuntimeError, match="OPSWAP_E_DEVICE: rms_norm: torch gives no stream of CUDA device 1"):
        operator(*(on_device(v, 1) for v in arguments()))


def test_tensors_of_two_devices_are_refused() -> None:
    out, x, w = arguments()
    with pytest.raises(RuntimeError, match="OPSWAP_E_DEVICE: rms_norm: weight is on cuda:1, the first tensor is on"):
        operator(on_device(out), on_device(x), on_device(w, 1))
    with pytest.raises(RuntimeError, match="OPSWAP_E_DEVICE: rms_norm: weight is on cpu:0, the first tensor is on"):
        operator(on_device(out), on_device(x), w)


def test_the_chosen_implementation_must_be_of_the_device() -> None:
    opswap.use("rms_norm", "sm90")
    with pytest.raises(RuntimeError, match="sm90' cannot run: it computes on a CUDA device and the tensors are not"):
        operator(*arguments())
