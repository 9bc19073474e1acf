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

# What each instance of a kernel, by its mangled name, must have in its machine code. Hints are operands `desc[..]`.
INSTRUCTIONS = [
    ("wrap_approx", r"MUFU\.EX2 "),
    ("wrap_approx", r"MUFU\.RCP "),
    (r"wrap_box\w+EvictE0", r"UTMALDG\.\dD \[UR\d+\], \[UR\d+\] ;"),
    (r"wrap_box\w+EvictE1", r"UTMALDG\.\dD \[UR\d+\], \[UR\d+\], desc\["),
    (r"wrap_box\w+EvictE1", r"UTMASTG\.\dD \[UR\d+\], \[UR\d+\], desc\["),
    (r"wrap_box\w+EvictE1", r"UTMAPF\.L2\.\dD \[UR\d+\], \[UR\d+\], desc\["),
    (r"wrap_multicast\w+EvictE1", r"UTMALDG\.\dD\.MULTICAST [^;]*, desc\["),
    (r"wrap_reduce\w+EvictE1", r"UTMAREDG\.\dD\.(ADD|MIN|MAX) [^;]*, desc\["),
    (r"wrap_bulkILNS0_5EvictE0", r"UBLKPF\.L2 \[UR\d+\], UR\d+ ;"),
    (r"wrap_bulkILNS0_5EvictE[123]", r"UBLKPF\.L2 [^;]*, desc\["),
    (r"wrap_bulkILNS0_5EvictE[123]", r"UBLKCP\.S\.G [^;]*, desc\["),
    (r"wrap_bulkILNS0_5EvictE[123]", r"UBLKCP\.S\.G\.MULTICAST [^;]*, desc\["),
    (r"wrap_bulkILNS0_5EvictE[123]", r"UBLKCP\.G\.S [^;]*, desc\["),
]
# A thread that an if picks, and elected ones, also in the examples; and accumulators used behind a wait, in a loop.
COMPARED = """
#include "kernels/gemm.h"
#include "kernels/tile.h"
#include "kernels/wrap_copies.h"
#include "kernels/wrap_products.h"
using namespace opswap::sm90;
using Bytes = const unsigned char *;
template <bool Elected>
__global__ void issues(const __grid_constant__ TensorMap map) {
  OPSWAP_SMEM(CopyTile, s);
  one_barrier(s);
  if (Elected ? !first_warp_elects() : threadIdx.x != 0) return;
  tma_load(s.data, &map, s.full, 0, 0);
}
template __global__ void issues<false>(const __grid_constant__ TensorMap);
template __global__ void issues<true>(const __grid_constant__ TensorMap);
template __global__ void opswap::sm90::wrap_operand_fence<false>(float *, Bytes, Bytes, float, int);
template __global__ void opswap::sm90::wrap_operand_fence<true>(float *, Bytes, Bytes, float, int);
template __global__ void opswap::sm90::gemm_example<MatrixType::bf16>(const __grid_constant__ TensorMap,
    const __grid_constant__ TensorMap, float *, int, int, int);
"""


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


def compile_to(output: Path, source: Path, *flags: str) -> str:
    """What ptxas says."""
    target = ["-gencode", "arch=compute_90a,code=sm_90a", "-std=c++20", "--expt-relaxed-constexpr"]
    include = [f"-I{ROOT / 'kernels'}", f"-I{KERNELS.parent}"]
    command = [os.environ["OPSWAP_NVCC"], *target, *flags, *include, str(source), "-o", str(output)]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stderr


def sass_of(cubin: Path) -> dict[str, str]:
    dump = [os.environ["OPSWAP_CUOBJDUMP"], "-sass", str(cubin)]
    parts = re.split(r"Function : (\S+)", subprocess.run(dump, capture_output=True, text=True, check=True).stdout)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


@pytest.fixture(scope="module")
def assembled(tmp_path_factory: pytest.TempPathFactory) -> Assembled:
    cubin = tmp_path_factory.mktemp("wrappers") / "all.cubin"
    said = compile_to(cubin, SOURCE, "-Xptxas", "-v", "-Xptxas", "-O1", "-cubin")
    return Assembled(re.findall(r"Compiling entry function '(\w+)' for 'sm_90a'", said), sass_of(cubin))


def test_every_wrapper_assembles(assembled: Assembled) -> None:
    assert kernels()
    assert [k for k in kernels() if not any(f"{len(k)}{k}" in entry for entry in assembled.entries)] == []


@pytest.mark.parametrize(("kernel", "instruction"), INSTRUCTIONS)
def test_the_instruction_is_there(assembled: Assembled, kernel: str, instruction: str) -> None:
    named = [sass for entry, sass in assembled.sass.items() if re.search(kernel, entry)]
    assert named
    assert all(re.search(instruction, sass) for sass in named)


def test_an_elected_thread_issues_without_a_loop(assembled: Assembled, tmp_path: Path) -> None:
    assert [entry for entry, sass in assembled.sass.items() if "BRA.U.ANY" in sass] == []
    (tmp_path / "compared.cu").write_text(COMPARED)
    compile_to(tmp_path / "compared.cubin", tmp_path / "compared.cu", "-cubin")
    compared = sass_of(tmp_path / "compared.cubin")
    assert any("gemm_example" in entry for entry in compared)
    assert [entry for entry, sass in compared.items() if "BRA.U.ANY" in sass] == ["_Z6issuesILb0EEv14CUtensorMap_st"]


@pytest.mark.parametrize(("fenced", "first"), [(0, "mul.f32"), (1, "wgmma.wait_group")])
def test_an_operand_fence_keeps_arithmetic_behind_the_wait(tmp_path: Path, fenced: int, first: str) -> None:
    """Without it the compiler scales the accumulators of a product that is under way, in front of the loop."""
    (tmp_path / "compared.cu").write_text(COMPARED)
    compile_to(tmp_path / "compared.ptx", tmp_path / "compared.cu", "-ptx")
    text = (tmp_path / "compared.ptx").read_text()
    body = text[text.index(f".entry _ZN6opswap4sm9018wrap_operand_fenceILb{fenced}EE") :]
    found = re.search(r"mul\.f32|wgmma\.wait_group", body)
    assert found is not None
    assert found[0] == first
