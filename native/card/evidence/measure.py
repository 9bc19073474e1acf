"""Times on a card, of an op and of its baselines, as shares of the card's own rates of copies and of matrix products.

Each contender is a CUDA graph over rotated copies of its inputs, replayed in turn with the others after the L2 cache
has been filled with something else.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from .abi import CUDA, Library, Memory
from .backend import driver_and_clocks
from .baselines import baselines
from .examine import ALIGNMENT, IMPLEMENTATION
from .floor import Floor
from .rooms import Room

ROUNDS = 15
MOST_COPIES, FEWEST_COPIES = 32, 4
COPY_BYTES = 1 << 30
MATRIX = 8192


def on_card(array: np.ndarray) -> torch.Tensor:
    """A tensor of the array's own dtype; those that torch cannot take from numpy travel as bits."""
    kind = getattr(torch, str(array.dtype))
    bits = np.dtype(f"u{array.itemsize}") if array.itemsize == 1 else np.dtype(f"i{array.itemsize}")
    dense = np.ascontiguousarray(array)
    return (
        torch.from_numpy(dense.view(bits).copy()).cuda().view(kind)
        if dense.size
        else torch.empty(array.shape, dtype=kind, device="cuda")
    )


def memory(tensor: torch.Tensor) -> Memory:
    name = str(tensor.dtype).removeprefix("torch.")
    return Memory(tensor.data_ptr(), name, tuple(tensor.shape), tuple(tensor.stride()), CUDA)


class Graph:
    """One contender: `runs` are the same work on different memory."""

    def __init__(self, runs: list[Callable[[], Any]]) -> None:
        self.count = len(runs)
        side = torch.cuda.Stream()
        with torch.cuda.stream(side):
            runs[0]()  # what is made at the first use must not be captured
        torch.cuda.synchronize()
        self.graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self.graph, capture_error_mode="thread_local"):
            for run in runs:
                run()

    def microseconds(self, flush: torch.Tensor) -> float:
        flush.zero_()
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        self.graph.replay()
        end.record()
        end.synchronize()
        return start.elapsed_time(end) * 1000 / self.count


class Bench:
    def __init__(self, library: Library, room: Room, seed: int) -> None:
        self._library, self._room, self._seed = library, room, seed
        self._l2 = torch.cuda.get_device_properties(0).L2_cache_size
        self._flush = torch.empty(4 * self._l2, dtype=torch.uint8, device="cuda")
        self._copy_gbps = self._measure_copy()
        self._matrix = self._measure_matrix()
        driver, clocks = driver_and_clocks()
        self.card = {
            "driver": driver,
            "cuda": torch.version.cuda,
            "clocks_mhz": {name: [clock] for name, clock in clocks.items()},
            "copy_gbps": round(self._copy_gbps, 1),
            "matrix_tflops": {name: round(value, 1) for name, value in self._matrix.items()},
        }

    def _rounds(self, contenders: dict[str, Graph]) -> dict[str, list[float]]:
        """In turn, so that a change of the clock meets all of them."""
        times: dict[str, list[float]] = {name: [] for name in contenders}
        for _ in range(ROUNDS):
            for name, graph in contenders.items():
                times[name].append(graph.microseconds(self._flush))
        return times

    def _median(self, runs: list[Callable[[], Any]]) -> float:
        return statistics.median(self._rounds({"it": Graph(runs)})["it"])

    def _measure_copy(self) -> float:
        source, target = (torch.empty(COPY_BYTES, dtype=torch.uint8, device="cuda") for _ in range(2))
        return 2 * COPY_BYTES / self._median([lambda: target.copy_(source)]) / 1000

    def _measure_matrix(self) -> dict[str, float]:
        a, b = (torch.randn(MATRIX, MATRIX, device="cuda", dtype=torch.bfloat16) for _ in range(2))
        out = torch.empty_like(a)
        return {"bfloat16": 2 * MATRIX**3 / self._median([lambda: torch.mm(a, b, out=out)]) / 1e6}

    def _copies(self, values: dict[str, Any]) -> list[dict[str, Any]]:
        moved = sum(v.nbytes for v in values.values() if isinstance(v, np.ndarray))
        count = min(MOST_COPIES, max(FEWEST_COPIES, 2 * self._l2 // max(moved, 1)))
        return [{k: on_card(v) if isinstance(v, np.ndarray) else v for k, v in values.items()} for _ in range(count)]

    def _ours(self, values: dict[str, Any], plan: bytes = b"") -> Callable[[], None]:
        op = self._room.name
        packed = self._library.pack(op, [memory(v) if isinstance(v, torch.Tensor) else v for v in values.values()])
        size = self._library.workspace_size(op, packed, IMPLEMENTATION)
        room = torch.empty(size + ALIGNMENT, dtype=torch.uint8, device="cuda")
        address = -(-room.data_ptr() // ALIGNMENT) * ALIGNMENT if size else 0

        def run(kept: tuple = (values, room)) -> None:  # the graph's memory lives as long as the closure
            stream = torch.cuda.current_stream().cuda_stream
            self._library.call(op, packed, IMPLEMENTATION, stream, (address, size), plan=plan)

        return run

    def time_plans(self, values: dict[str, Any], plans: dict[str, bytes]) -> dict[str, float]:
        """Microseconds of the same call by each of these plans."""
        copies = self._copies(values)
        times = self._rounds({name: Graph([self._ours(v, plan) for v in copies]) for name, plan in plans.items()})
        return {name: statistics.median(of) for name, of in times.items()}

    def time(self, values: dict[str, Any], floor: Floor) -> dict[str, Any]:
        copies = self._copies(values)
        rivals = [baselines(self._room, v) for v in copies]
        contenders = {IMPLEMENTATION: Graph([self._ours(v) for v in copies])}
        contenders.update({name: Graph([r[name] for r in rivals]) for name in rivals[0]})
        times = self._rounds(contenders)
        us = statistics.median(times[IMPLEMENTATION])
        peak = self._matrix["bfloat16"]
        driver_and_clocks_now = driver_and_clocks()[1]
        for name, clock in driver_and_clocks_now.items():
            self.card["clocks_mhz"][name].append(clock)
        return {
            "us": us,
            "us_range": [min(times[IMPLEMENTATION]), max(times[IMPLEMENTATION])],
            "clocks_mhz": driver_and_clocks_now,
            "share_of_copy": floor.bytes / us / 1000 / self._copy_gbps,
            "share_of_matrix": floor.flops / us / 1e6 / peak if floor.flops else None,
            "baselines": {n: statistics.median(t) for n, t in times.items() if n != IMPLEMENTATION},
        }
