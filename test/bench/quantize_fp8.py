"""`npm run bench -- quantize_fp8`: groups of 1x128 beside a memcpy of the input and the composition in torch.

The three take turns on one thread, in CPU time, on rows too many for the caches. Bytes count as read and written, so a
share of 1 is the speed at which memory is copied; `most_times_torch` is what that speed would be against torch.
`--rows N`, `--columns N` and `--rounds N` change the case.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import time
from collections.abc import Callable
from statistics import median
from typing import Any

import opswap
import torch
from _torch_peers import fp8_outputs, size, to_fp8

DTYPES = (torch.bfloat16, torch.float16, torch.float32)


def seconds(call: Callable[[], Any]) -> float:
    start = time.thread_time()
    call()
    return time.thread_time() - start


def measure(dtype: torch.dtype, rows: int, columns: int, rounds: int) -> dict[str, float]:
    x = torch.randn(rows, columns).to(dtype)
    copied, (out, scale) = torch.empty_like(x), fp8_outputs(rows, columns)
    sides = (
        lambda: opswap.call("quantize_fp8", out, scale, x),
        lambda: ctypes.memmove(copied.data_ptr(), x.data_ptr(), size(x)),
        lambda: to_fp8(x),
    )
    for side in sides:
        side()
    times = [[seconds(side) for side in sides] for _ in range(rounds)]
    ours, memcpy, _ = (median(column) for column in zip(*times, strict=True))
    floors = [t[1] * size(x, out, scale) / (2 * size(x)) for t in times]
    return {
        "opswap_gb_s": size(x, out, scale) / ours / 1e9,
        "memcpy_gb_s": 2 * size(x) / memcpy / 1e9,
        "share_of_memcpy": median(floor / t[0] for floor, t in zip(floors, times, strict=True)),
        "times_torch": median(t[2] / t[0] for t in times),
        "most_times_torch": median(t[2] / floor for floor, t in zip(floors, times, strict=True)),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=2048)
    parser.add_argument("--columns", type=int, default=7168)
    parser.add_argument("--rounds", type=int, default=9)
    given = parser.parse_args()
    torch.set_num_threads(1)
    opswap.set_threads(1)
    result = {str(dtype)[6:]: measure(dtype, given.rows, given.columns, given.rounds) for dtype in DTYPES}
    print(
        json.dumps(
            {"rows": given.rows, "columns": given.columns, "implementation": opswap.active("quantize_fp8"), **result},
            indent=2,
        )
    )


if __name__ == "__main__":
    main()
