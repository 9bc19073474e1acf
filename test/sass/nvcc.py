"""CUDA sources compiled for sm_90a as the build compiles them."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

from ops.rooms import ROOT

TARGET = ("-gencode", "arch=compute_90a,code=sm_90a")
OURS = (ROOT / "kernels", ROOT / "emulator")


class NotCompiled(ValueError):
    """nvcc refused a source; the message holds what it said."""


def nvcc() -> str:
    return os.environ["OPSWAP_NVCC"]


def release() -> str:
    text = subprocess.run([nvcc(), "--version"], check=True, capture_output=True, text=True).stdout
    found = re.search(r"\bV(\d+\.\d+\.\d+)", text)
    if found is None:
        raise NotCompiled(f"{nvcc()} --version says no release")
    return found[1]


def cubin(source: Path, out: Path, include: tuple[Path, ...] = OURS) -> str:
    """Compiles into `out` and returns what ptxas said."""
    flags = ["-std=c++20", "-O3", "--expt-relaxed-constexpr", *TARGET, *(f"-I{folder}" for folder in include)]
    command = [nvcc(), *flags, "-Xptxas", "-v", "-cubin", str(source), "-o", str(out)]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    if ran.returncode:
        raise NotCompiled(f"nvcc did not compile {source}:\n{ran.stdout}{ran.stderr}")
    return ran.stdout + ran.stderr
