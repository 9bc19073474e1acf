"""`npm run bench -- quantize_fp8`: groups of 1x128 beside a memcpy of the input and the composition in torch.

All take turns on one thread, in CPU time; by default rows are too many for the caches. Bytes count as read and written,
so a share of 1 is the speed at which memory is copied. A memchr that finds nothing shows what reading the input alone
takes: `most_times_torch` is what that would be against torch, were codes and arithmetic free.
`--rows N,N`, `--columns N` and `--rounds N` change the cases.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import opswap
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "native"))
from ops.rooms import ROOT, Room

PEER = Room(ROOT / "kernels/quantize_fp8").peer
size = PEER.size
LIBC = ctypes.CDLL(None)
DTYPES = (torch.bfloat16, torch.float16, torch.float32)


def seconds(call: Callable[[], Any]) -> float:
    start = time.thread_time()
    call()
    return time.thread_time() - start


def measure(dtype: torch.dtype, rows: int, columns: int, rounds: int) -> dict[str, float]:
    x = torch.randn(rows, columns).to(dtype)
    copied, (out, scale) = torch.empty_like(x), PEER.fp8_outputs(rows, columns)
    zeros = torch.zeros_like(x)
    sides = (
        lambda: opswap.call("quantize_fp8", out, scale, x),
        lambda: ctypes.memmove(copied.data_ptr(), x.data_ptr(), size(x)),
        lambda: LIBC.memchr(ctypes.c_void_p(zeros.data_ptr()), 1, ctypes.c_size_t(size(x))),
        lambda: PEER.to_fp8(x),
    )
    for side in sides:
        side()
    times = [[seconds(side) for side in sides] for _ in range(rounds)]
    ours, memcpy, read, _ = (median(column) for column in zip(*times, strict=True))
    return {
        "input_mb": size(x) / 1e6,
        "opswap_gb_s": size(x, out, scale) / ours / 1e9,
        "memcpy_gb_s": 2 * size(x) / memcpy / 1e9,
        "share_of_memcpy": median(t[1] / t[0] for t in times) * size(x, out, scale) / (2 * size(x)),
        "read_gb_s": size(x) / read / 1e9,
        "share_of_read": median(t[2] / t[0] for t in times),
        "times_torch": median(t[3] / t[0] for t in times),
        "most_times_torch": median(t[3] / t[2] for t in times),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", default="2048")
    parser.add_argument("--columns", type=int, default=7168)
    parser.add_argument("--rounds", type=int, default=9)
    given = parser.parse_args()
    torch.set_num_threads(1)
    opswap.set_threads(1)
    cases = [
        {"rows": rows, **{str(dtype)[6:]: measure(dtype, rows, given.columns, given.rounds) for dtype in DTYPES}}
        for rows in map(int, given.rows.split(","))
    ]
    head = {"columns": given.columns, "implementation": opswap.active("quantize_fp8")}
    print(json.dumps({**head, "cases": cases}, indent=2))


if __name__ == "__main__":
    main()
