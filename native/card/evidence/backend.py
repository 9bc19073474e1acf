"""Where kernels run: a card through torch.cuda, or the emulator in host memory. The rest of the suite sees no other
difference."""

from __future__ import annotations

import re
from typing import Any, Protocol

import numpy as np

from .abi import CUDA, Memory
from .card import asked


def root_of(array: np.ndarray) -> np.ndarray:
    while isinstance(array.base, np.ndarray):
        array = array.base
    return array


def described(array: np.ndarray, address: int) -> Memory:
    strides = tuple(s // array.itemsize for s in array.strides)
    return Memory(address, str(array.dtype), array.shape, strides, CUDA)


class Backend(Protocol):
    """`place` gives a host array's place on the device; `finish` waits and brings everything back into the arrays."""

    kind: str
    stream: int

    def place(self, array: np.ndarray) -> Memory: ...
    def finish(self) -> None: ...
    def describe(self) -> dict[str, Any]: ...


class Emulator:
    """Device memory is the host's own."""

    kind = "emulated"
    stream = 0

    def place(self, array: np.ndarray) -> Memory:
        return described(array, array.ctypes.data)

    def finish(self) -> None:
        pass

    def describe(self) -> dict[str, Any]:
        return {"model": "emulator", "name": "emulated", "architecture": "emulated", "sms": 132}


class Card:
    """Each host buffer is copied whole, so that poison and guards around a view are on the card too."""

    kind = "cuda"

    def __init__(self) -> None:
        import torch

        self._torch = torch
        self.stream = torch.cuda.current_stream().cuda_stream
        self._copies: dict[int, tuple[np.ndarray, Any]] = {}

    def place(self, array: np.ndarray) -> Memory:
        root = root_of(array)
        if id(root) not in self._copies:
            self._copies[id(root)] = (root, self._upload(root))
        copy = self._copies[id(root)][1]
        return described(array, copy.data_ptr() + array.ctypes.data - root.ctypes.data)

    def _upload(self, root: np.ndarray) -> Any:
        return self._torch.from_numpy(root.reshape(-1).view(np.uint8).copy()).cuda()

    def finish(self) -> None:
        self._torch.cuda.synchronize()
        for root, copy in self._copies.values():
            root.reshape(-1).view(np.uint8)[...] = copy.cpu().numpy()
        self._copies.clear()

    def describe(self) -> dict[str, Any]:
        device = self._torch.cuda.get_device_properties(0)
        return {
            "model": model_of(device.name),
            "name": device.name,
            "architecture": f"sm_{device.major}{device.minor}",
            "sms": device.multi_processor_count,
        }


def model_of(name: str) -> str:
    """H100 out of `NVIDIA H100 80GB HBM3`; the whole name where it says no such word."""
    found = re.search(r"\bG?[HAB]\d{2,3}\b", name)
    return found[0] if found else name


def driver_and_clocks() -> tuple[str, dict[str, float]]:
    """Driver version, and the clocks in MHz at this moment."""
    line = asked("--query-gpu=driver_version,clocks.sm,clocks.mem")[0]
    driver, sm, memory = (part.strip() for part in line.split(","))
    return driver, {"sm": float(sm), "memory": float(memory)}
