"""torch.cuda as the GPU suite uses it, on the host: graphs run what they captured, events read the clock."""

from __future__ import annotations

import contextlib
import time
from types import SimpleNamespace
from typing import Any, Protocol

import torch


class Patch(Protocol):
    """pytest's MonkeyPatch, or plain setattr where a whole process plays the card."""

    def setattr(self, target: Any, name: str, value: Any, raising: bool = True) -> None: ...


class Event:
    def __init__(self, enable_timing: bool) -> None:
        assert enable_timing
        self.at = 0.0

    def record(self) -> None:
        self.at = time.perf_counter()

    def synchronize(self) -> None:
        pass

    def elapsed_time(self, end: Event) -> float:
        return (end.at - self.at) * 1000


class Graph:
    """Capturing runs the work once and so does each replay: the library's calls are not recorded here."""

    def __init__(self) -> None:
        self.replays = 0

    def replay(self) -> None:
        self.replays += 1
        time.sleep(1e-4)


def install(patch: Patch) -> None:
    properties = SimpleNamespace(
        L2_cache_size=1 << 16, name="NVIDIA H100 fake", major=9, minor=0, multi_processor_count=132
    )
    everything: dict[str, Any] = {
        "get_device_properties": lambda _: properties,
        "current_stream": lambda *_: SimpleNamespace(cuda_stream=0),
        "Stream": lambda: SimpleNamespace(cuda_stream=0),
        "stream": lambda _: contextlib.nullcontext(),
        "synchronize": lambda: None,
        "Event": Event,
        "CUDAGraph": Graph,
        "graph": lambda _graph, **_: contextlib.nullcontext(),
    }
    for name, value in everything.items():
        patch.setattr(torch.cuda, name, value, raising=False)
    patch.setattr(torch.Tensor, "cuda", lambda self: self)
    for name in ("empty", "randn"):
        original = getattr(torch, name)
        patch.setattr(torch, name, lambda *a, _f=original, **k: _f(*a, **{n: v for n, v in k.items() if n != "device"}))
