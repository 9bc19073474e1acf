"""Every wrapper of common/sm90 assembles for sm_90a, in the kernels that the emulator's tests run, to what it says."""

from __future__ import annotations

import os
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

import opswap
import pytest

ROOT = Path(__file__).resolve().parents[2]
KERNELS = ROOT / "emulator/kernels"
SOURCE = Path(__file__).with_name("wrappers.cu")
STATUS = opswap.version()["device_status"]
pytestmark = pytest.mark.skipif("this build has no CUDA kernels" in STATUS, reason=STATUS)

# What an instance of a kernel must have in its machine code.
INSTRUCTIONS = [
    ("wrap_approx", r"MUFU\.EX2 "),
    ("wrap_approx", r"MUFU\.RCP "),
]


def kernels() -> set[str]:
    text = "".join(path.read_text() for path in KERNELS.glob("wrap_*.h"))
    return set(re.findall(r"__global__ void(?:\s+__launch_bounds__\([^)]*\))?\s+(wrap_\w+)\(", text))


def test_the_source_includes_every_kernel() -> None:
    included = set(re.findall(r'#include "kernels/(\w+\.h)"', SOURCE.read_text()))
    assert included == {path.name for path in KERNELS.glob("wrap_*.h")}


@dataclass(frozen=True)
class Assembled:
    entries: list[str]  # mangled
    sass: dict[str, str]  # of each entry


@pytest.fixture(scope="module")
def assembled(tmp_path_factory: pytest.TempPathFactory) -> Assembled:
    cubin = tmp_path_factory.mktemp("wrappers") / "all.cubin"
    target = ["-gencode", "arch=compute_90a,code=sm_90a", "-Xptxas", "-v", "-Xptxas", "-O1"]
    flags = ["-std=c++20", "--expt-relaxed-constexpr", f"-I{ROOT / 'kernels'}", f"-I{KERNELS.parent}"]
    command = [os.environ["OPSWAP_NVCC"], *target, *flags, "-cubin", str(SOURCE), "-o", str(cubin)]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    entries = re.findall(r"Compiling entry function '(\w+)' for 'sm_90a'", ran.stderr)
    dump = [os.environ["OPSWAP_CUOBJDUMP"], "-sass", str(cubin)]
    parts = re.split(r"Function : (\S+)", subprocess.run(dump, capture_output=True, text=True, check=True).stdout)
    return Assembled(entries, dict(zip(parts[1::2], parts[2::2], strict=True)))


def test_every_wrapper_assembles(assembled: Assembled) -> None:
    assert kernels()
    assert [k for k in kernels() if not any(f"{len(k)}{k}" in entry for entry in assembled.entries)] == []


@pytest.mark.parametrize(("kernel", "instruction"), INSTRUCTIONS)
def test_the_instruction_is_there(assembled: Assembled, kernel: str, instruction: str) -> None:
    named = [sass for entry, sass in assembled.sass.items() if f"{len(kernel)}{kernel}" in entry]
    assert named
    assert all(re.search(instruction, sass) for sass in named)
