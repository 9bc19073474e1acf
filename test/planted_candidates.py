"""Python candidates for rms_norm, one of each kind of fault, and a good one; for tests and the bench of quarantine."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

HEAD = """
import ctypes, mmap, os, sys, threading, time
import torch

def _norm(out, input, weight, epsilon):
    x = input.double()
    out.copy_(x / torch.sqrt((x * x).mean(-1, keepdim=True) + epsilon) * weight.double())

def candidate(out, input, weight, epsilon):
    _norm(out, input, weight, epsilon)
"""
#: What follows the right result, by kind.
FAULTS = {
    "crashes": "    ctypes.string_at(8)",
    "aborts": "    os.abort()",
    "hangs": "    while True: pass",
    "sleeps": "    time.sleep(3600)",
    "writes far behind its output": "    ctypes.memset(out.data_ptr() + out.nbytes, 1, 70000)",
    "writes far before its output": "    ctypes.memset(out.data_ptr() - 70000, 1, 70000)",
    "writes one byte behind its output": "    ctypes.memset(out.data_ptr() + out.nbytes, 1, 1)",
    "writes one byte before its output": "    ctypes.memset(out.data_ptr() - 1, 1, 1)",
    "writes its input": "    input.mul_(2)",
    "gives NaN": "    out[-1, -1] = float('nan')",
    "gives infinity": "    out.div_(0)",
    "is wrong": "    out[0, 0] += 0.01",
    "leaves a part out": "    out[-1] = 0",
    "takes memory": "    x = torch.ones(1 << 33)",
    "takes shared memory": "    m = mmap.mmap(-1, 1 << 34)\n    for i in range(0, 1 << 34, 4096): m[i] = 1",
    "exits": "    sys.exit(0)",
    "exits at once": "    os._exit(0)",
    "raises": "    raise ValueError('planted')",
    "forks and is wrong": """
    child = os.fork() or time.sleep(3600)
    open(__file__ + ".pid", "w").write(str(child))
    out[0, 0] += 1""",
    "prints and is wrong": "    print('x' * (1 << 20)); os.write(1, b'y' * (1 << 20))\n    out[0, 0] += 1",
}


def planted(folder: Path, kind: str, op: str = "rms_norm") -> dict[str, Any]:
    """Writes the candidate of a kind, `good` among them, and gives its row as load_candidate takes it."""
    source = HEAD + FAULTS.get(kind, "") + "\n"
    name = kind.replace(" ", "_")[:31]
    file = folder / f"{name}.py"
    file.write_text(source)
    file.chmod(0o600)
    digest = hashlib.sha256(source.encode()).hexdigest()
    return {"kind": "python", "path": str(file), "op": op, "name": name, "digest": digest, "function": "candidate"}
