"""The gates themselves: kernels with a planted fault, compiled for sm_90a, must be found."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import opswap
import pytest
from static import budget
from static.compiled_kernels import Kernel, broken_claims, faults, read

STATUS = opswap.version()["device_status"]
pytestmark = pytest.mark.skipif("this build has no CUDA kernels" in STATUS, reason=STATUS)

# Each in a block size that leaves 32 registers a thread.
PLANTED = """
__global__ void __launch_bounds__(1024, 2) spills(float *p) {
  float held[96];
#pragma unroll
  for (int i = 0; i < 96; ++i) held[i] = p[i * 1024 + threadIdx.x];
  __syncthreads();
#pragma unroll
  for (int i = 0; i < 96; ++i) p[threadIdx.x * 96 + i] = held[95 - i] * held[i];
}
__global__ void __launch_bounds__(64) indexed(const int *which, int *out) {
  int kept[32];
  for (int i = 0; i < 32; ++i) kept[which[i] & 31] = i;
  out[threadIdx.x] = kept[which[threadIdx.x] & 31];
}
__global__ void __launch_bounds__(128) clean(const float4 *from, float4 *to) {
  __shared__ float4 tile[128];
  tile[threadIdx.x] = from[threadIdx.x];
  __syncthreads();
  to[threadIdx.x] = tile[127 - threadIdx.x];
}
"""


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Kernel]:
    folder = tmp_path_factory.mktemp("planted")
    (folder / "planted.cu").write_text(PLANTED)
    target = ["-gencode", "arch=compute_90a,code=sm_90a", "-Xptxas", "-v"]
    command = [os.environ["OPSWAP_NVCC"], "-std=c++20", "-O3", *target, "-c", "planted.cu", "-o", "planted.sm90_all.o"]
    ran = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
    (folder / "planted.sm90_all.ptxas").write_text(ran.stdout + ran.stderr)
    return {
        k.name: k for k in read("planted", "sm90_all", "planted.sm90_all", folder, Path(os.environ["OPSWAP_CUOBJDUMP"]))
    }


def test_all_kernels_of_an_object_are_read(planted: dict[str, Kernel]) -> None:
    assert set(planted) == {"spills", "indexed", "clean"}
    clean = planted["clean"]
    assert (clean.shared, clean.threads, clean.barriers) == (128 * 16, 128, 1)
    assert 0 < clean.registers < 32


def test_spills_are_found(planted: dict[str, Kernel]) -> None:
    assert any("bytes of spills" in text for text in faults(planted["spills"]))


def test_local_memory_without_a_spill_is_found(planted: dict[str, Kernel]) -> None:
    kernel = planted["indexed"]
    assert kernel.spills == 0
    assert any(text.startswith("local memory (") for text in faults(kernel))
    assert any("bytes of stack" in text for text in faults(kernel))


def test_a_clean_kernel_has_no_fault(planted: dict[str, Kernel]) -> None:
    assert faults(planted["clean"]) == []


def test_claims_hold_or_are_named(planted: dict[str, Kernel]) -> None:
    kernels = list(planted.values())
    assert broken_claims("// sass clean: LDG=128 STG.128 STS.128\n", kernels) == []
    assert broken_claims("// sass clean: HGMMA\n", kernels) == ["no clean meets HGMMA"]
    assert broken_claims("// sass indexed: STG=128\n", kernels) == ["no indexed meets STG=128"]
    assert broken_claims("// sass gone: LDG\n", kernels) == ["there is no kernel gone"]


def test_one_register_more_is_a_difference(planted: dict[str, Kernel]) -> None:
    table = budget.table("13.0.88", list(planted.values()))
    registers = planted["clean"].registers
    changed = table.replace(f'"clean", "registers": {registers}', f'"clean", "registers": {registers + 1}')
    assert budget.difference(table, table) == ""
    assert f'+    {{"op": "planted", "instance": "sm90_all", "kernel": "clean", "registers": {registers + 1}' in (
        budget.difference(table, changed)
    )


def test_serialized_products_are_found(tmp_path: Path) -> None:
    """In ptxas's words, which it says of code that keeps wgmma from running on."""
    (tmp_path / "one.cu").write_text(
        "__global__ void one(int *p) { *p = 1; }\n__global__ void two(int *p) { *p = 2; }\n"
    )
    command = [os.environ["OPSWAP_NVCC"], "-gencode", "arch=compute_90a,code=sm_90a", "-Xptxas", "-v", "-c", "one.cu"]
    ran = subprocess.run([*command, "-o", "one.all.o"], cwd=tmp_path, capture_output=True, text=True, check=True)
    said = "ptxas info : (C7510) Potential Performance Loss: wgmma.mma_async instructions are serialized due to"
    log = f"{said} non wgmma instructions defining accumulator registers in the function '_Z3onePi'\n"
    (tmp_path / "one.all.ptxas").write_text(ran.stdout + ran.stderr + log)
    found = {k.name: faults(k) for k in read("one", "all", "one.all", tmp_path, Path(os.environ["OPSWAP_CUOBJDUMP"]))}
    assert found == {"one": ["wgmma instructions are serialized (C7510)"], "two": []}
