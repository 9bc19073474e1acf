"""The C++ of this folder, compiled by the compiler of this machine."""

from __future__ import annotations

import ctypes
import os
import subprocess
import tempfile
from functools import cache
from pathlib import Path

from ops.rooms import ROOT


@cache
def compiled(name: str) -> ctypes.CDLL:
    with tempfile.TemporaryDirectory(prefix="opswap-plans-") as folder:
        built = Path(folder) / "plans.so"
        flags = ["-std=c++20", "-O2", "-shared", "-fPIC", f"-I{ROOT / 'kernels'}"]
        source = Path(__file__).with_name(name)
        subprocess.run([os.environ.get("CXX", "g++"), *flags, str(source), "-o", str(built)], check=True)
        return ctypes.CDLL(str(built))
