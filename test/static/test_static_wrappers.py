"""Every wrapper of common/sm90 assembles for sm_90a, in the kernels that the emulator's tests run."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import opswap
import pytest

ROOT = Path(__file__).resolve().parents[2]
KERNELS = ROOT / "emulator/kernels"
SOURCE = Path(__file__).with_name("wrappers.cu")
STATUS = opswap.version()["device_status"]
pytestmark = pytest.mark.skipif("this build has no CUDA kernels" in STATUS, reason=STATUS)


def kernels() -> set[str]:
    text = "".join(path.read_text() for path in KERNELS.glob("wrap_*.h"))
    return set(re.findall(r"__global__ void(?:\s+__launch_bounds__\([^)]*\))?\s+(wrap_\w+)\(", text))


def test_the_source_includes_every_kernel() -> None:
    included = set(re.findall(r'#include "kernels/(\w+\.h)"', SOURCE.read_text()))
    assert included == {path.name for path in KERNELS.glob("wrap_*.h")}


def test_every_wrapper_assembles(tmp_path: Path) -> None:
    target = ["-gencode", "arch=compute_90a,code=sm_90a", "-Xptxas", "-v", "-Xptxas", "-O1"]
    flags = ["-std=c++20", "--expt-relaxed-constexpr", f"-I{ROOT / 'kernels'}", f"-I{KERNELS.parent}"]
    command = [os.environ["OPSWAP_NVCC"], *target, *flags, "-cubin", str(SOURCE), "-o", str(tmp_path / "all.cubin")]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert kernels()
    compiled = re.findall(r"Compiling entry function '(\w+)' for 'sm_90a'", ran.stderr)
    assert [k for k in kernels() if not any(f"{len(k)}{k}" in entry for entry in compiled)] == []
