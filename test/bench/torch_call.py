"""`npm run bench -- torch_call`: what torch.ops.opswap adds to a kernel, in turns with two of torch's own calls.

`floor` is an operator of the same arguments whose kernel does nothing: what torch itself takes to get to one.
"""

from __future__ import annotations

import ctypes
import json
import os
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from opswap import _opswap, torch_ops

#: Turns of a millisecond or two: what else the machine does hits all sides alike, and few of the turns.
ROUNDS, CALLS = 400, 500
SOURCE = Path(__file__).with_name("_torch_floor.cpp")


def microseconds(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    for _ in range(CALLS):
        call()
    return (time.perf_counter() - start) / CALLS * 1e6


def kernel_microseconds() -> float:
    """The library's own median for the kernel, checks excluded."""
    stats = json.loads(_opswap.stats())
    norm = next(o for o in stats["ops"] if o["op"] == "rms_norm")
    return float(next(i["p50_ns"] for i in norm["impls"] if i["name"] == norm["active"])) / 1e3


def floor() -> Any:
    """An operator with the arguments of rms_norm and no work."""
    library = torch.library.Library("opswap_floor", "DEF")
    library.define("nothing(Tensor(a!) out, Tensor input, Tensor weight, float epsilon=1e-6) -> ()")
    with tempfile.TemporaryDirectory() as folder:
        built = Path(folder) / "floor.so"
        command = [os.environ.get("CXX", "g++"), "-std=c++17", "-O2", "-shared", "-fPIC", SOURCE, "-o", built]
        subprocess.run(command, check=True)
        ctypes.CDLL(str(Path(torch.__file__).parent / "lib" / "libtorch_cpu.so"), mode=ctypes.RTLD_GLOBAL)
        ctypes.CDLL(str(built)).opswap_floor_bind()
    return library, torch.ops.opswap_floor.nothing.default


def main() -> None:
    torch_ops.register()
    library, nothing = floor()
    x, w, out = torch.randn(1, 64), torch.randn(64), torch.empty(1, 64)
    op = torch.ops.opswap.rms_norm.default
    calls = {
        "opswap": lambda: op(out, x, w, 1e-6),
        "floor": lambda: nothing(out, x, w, 1e-6),
        "torch_add_out": lambda: torch.add(x, x, out=out),
    }
    before = os.getloadavg()[0]
    rounds = [{name: microseconds(call) for name, call in calls.items()} for _ in range(ROUNDS)]
    del library
    kernel = kernel_microseconds()

    def over(name: str) -> float:
        return round(statistics.median(r["opswap"] / r[name] for r in rounds), 3)

    print(
        json.dumps(
            {
                "bench": "torch_call",
                "overhead_us": round(statistics.median(r["opswap"] for r in rounds) - kernel, 3),
                "above_floor_us": round(statistics.median(r["opswap"] - r["floor"] for r in rounds) - kernel, 3),
                "kernel_us": round(kernel, 3),
                "call_us": {name: round(statistics.median(r[name] for r in rounds), 3) for name in calls},
                "fastest_us": {name: round(min(r[name] for r in rounds), 3) for name in calls},
                "ratio_to_floor": over("floor"),
                "ratio_to_torch_add_out": over("torch_add_out"),
                "load_average": [round(before, 2), round(os.getloadavg()[0], 2)],
                "reach_us": 1.8,
                "goal_us": 1.5,
            }
        )
    )


if __name__ == "__main__":
    main()
