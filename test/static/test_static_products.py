"""Gates on kernels with products and on loads under way: the emulator's hold, and planted faults are named."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import opswap
import pytest
from ops.rooms import ROOT
from sass import compiled, nvcc
from sass.products import main_loops
from static import budget
from static.compiled_kernels import Kernel, broken_claims, faults, of_log, unlimited

STATUS = opswap.version()["device_status"]
pytestmark = pytest.mark.skipif("this build has no CUDA kernels" in STATUS, reason=STATUS)
SOURCE = Path(__file__).with_name("products.cu")

HEAD = """
#include "kernels/gemm.h"
using namespace opswap::sm90;
namespace device = opswap::device;
"""
# Accumulators that are read while the next group is under way over the back of the loop: ptxas waits for each product.
ROLLING = """
OPSWAP_DEVICE void product(GemmTile &s, float (&d)[64], int stage) {
  wgmma_fence();
  const uint64_t a = matrix_descriptor(s.a[stage], MatrixSwizzle::b128, STRIDE);
  wgmma<128, MatrixType::e4m3>(d, a, matrix_descriptor(s.b[stage], MatrixSwizzle::b128, STRIDE), true);
  wgmma_commit();
}
extern "C" __global__ void __launch_bounds__(256, 1) NAME(const float *scale, float *c, int steps) {
  OPSWAP_SMEM(GemmTile, s);
  float sum[64] = {}, d0[64] = {}, d1[64] = {};
  if (ROLLS) product(s, d0, 0);
  for (int k = 0; k < steps; k += 2) {
    if (!ROLLS) product(s, d0, 0);
    product(s, d1, 1);
    wgmma_wait<1>();
    for (int i = 0; i < 64; ++i) sum[i] += scale[k] * d0[i];
    if (ROLLS) product(s, d0, 0);
    wgmma_wait<ROLLS>();
    for (int i = 0; i < 64; ++i) sum[i] += scale[k + 1] * d1[i];
  }
  wgmma_wait();
  for (int i = 0; i < 64; ++i) c[threadIdx.x * 64 + i] = sum[i] + d0[i];
}
"""
COPIES = """
template <bool kElected>
__global__ void copies(const __grid_constant__ TensorMap map) {
  OPSWAP_SMEM(GemmTile, s);
  if (kElected ? threadIdx.x >= device::kWarp || !elect_one() : threadIdx.x != 0) return;
  mbarrier_arrive_expect(s.full[0], sizeof s.b[0]);
  tma_load(s.b[0], &map, s.full[0], 0, 0);
}
template __global__ void copies<true>(const __grid_constant__ TensorMap);
template __global__ void copies<false>(const __grid_constant__ TensorMap);
"""


def read(folder: Path, source: Path) -> dict[str, Kernel]:
    cubin = folder / f"{source.stem}.cubin"
    log = nvcc.cubin(source, cubin)
    kernels = compiled.read(Path(os.environ["OPSWAP_CUOBJDUMP"]), cubin)
    return {k.name: k for k in of_log("planted", "all", log, kernels)}


@pytest.fixture(scope="module")
def products(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Kernel]:
    return read(tmp_path_factory.mktemp("products"), SOURCE)


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Kernel]:
    folder = tmp_path_factory.mktemp("planted")
    kinds = {"clean": (0, 1024), "rolling": (1, 1024), "narrow": (0, 512)}
    bodies = [
        f"namespace of_{name} {{{ROLLING}}}".replace("NAME", name).replace("ROLLS", str(r)).replace("STRIDE", str(s))
        for name, (r, s) in kinds.items()
    ]
    (folder / "planted.cu").write_text(HEAD + "".join(bodies) + COPIES)
    return read(folder, folder / "planted.cu")


def test_the_emulators_products_pass_every_gate(products: dict[str, Kernel]) -> None:
    kernels = list(products.values())
    assert {k.name.split("<")[0] for k in kernels} == {"gemm_example", "tile_example"}
    assert {k.name: faults(k) for k in kernels if faults(k)} == {}
    assert broken_claims(SOURCE.read_text(), kernels) == []
    assert unlimited(SOURCE.read_text(), kernels) == []


def test_figures_of_a_loop_that_a_hand_can_count(products: dict[str, Kernel]) -> None:
    """A stage of 128 bytes of K is four products of 64x128, 64 cycles each; A and B move 2 + 4 KB for each of them."""
    for name in ("gemm_example<(MatrixType)0>", "gemm_example<(MatrixType)2>"):
        (loop,) = main_loops(products[name].compiled.graph)
        assert products[name].compiled.math_warpgroups == 2
        assert (loop.products, loop.tensor, loop.product_shared) == (4, 4 * 64, 4 * 6 * 1024 // 128)
        assert (loop.waits_idle, loop.waits_under_way, loop.mbarriers) == (1, 0, 2)
        assert loop.issue_per_100 == 100 * loop.issue / 256


def test_waits_for_each_product_are_found(planted: dict[str, Kernel]) -> None:
    assert faults(planted["rolling"]) == ["wgmma instructions are serialized (C7514)"]
    assert faults(planted["clean"]) == []


def test_a_loop_over_lanes_around_a_copy_is_found(planted: dict[str, Kernel]) -> None:
    assert faults(planted["copies<true>"]) == []
    (fault,) = faults(planted["copies<false>"])
    assert fault == "a loop over lanes around UTMALDG: let elect_one() pick the thread"


def test_descriptors_and_issue_are_held_to_their_claims(planted: dict[str, Kernel]) -> None:
    """Of the 128-byte swizzle, 1 in the two highest bits, and 8 rows of 128 bytes, whose sixteenth is at bit 32."""
    word = 1 << 30 | 8 * 128 >> 4
    clean, narrow = planted["clean"], planted["narrow"]
    assert clean.issue_per_100 is not None
    claim = f"// sass clean: issue<={clean.issue_per_100:.2f} descriptor={word:#x}\n"
    assert unlimited(claim, [clean]) == []
    assert unlimited(claim.replace("clean", "narrow"), [narrow]) == [
        f"narrow does not meet descriptor={word:#x}: issue {clean.issue_per_100:.1f}, descriptor 0x40000020"
    ]
    less = f"issue<={clean.issue_per_100 - 1:.2f}"
    (unmet,) = unlimited(f"// sass clean: {less} descriptor={word:#x}\n", [clean])
    assert unmet.startswith(f"clean does not meet {less}: ")
    assert [text.split(":")[0] for text in unlimited("", [clean])] == [
        "clean needs a claim issue<=",
        "clean needs a claim descriptor=",
    ]


def test_fewer_loads_under_way_are_a_difference(planted: dict[str, Kernel]) -> None:
    kernel = planted["clean"]
    table = budget.table("13.0.88", [kernel])
    less = table.replace(f'"outstanding": {kernel.outstanding}', f'"outstanding": {kernel.outstanding - 4}')
    assert less != table
    assert '-    {"op": "planted", "instance": "all", "kernel": "clean"' in budget.difference(table, less)
    assert kernel.has(f"loads>={kernel.outstanding}")
    assert not kernel.has(f"loads>={kernel.outstanding + 1}")


def test_registers_and_static_shared_memory_are_those_of_ptxas(planted: dict[str, Kernel]) -> None:
    for kernel in planted.values():
        assert (kernel.compiled.registers, kernel.compiled.stack) == (kernel.registers, kernel.stack)
        assert kernel.compiled.shared == kernel.shared


def command(*arguments: str) -> subprocess.CompletedProcess:
    environment = {**os.environ, "PYTHONPATH": f"{ROOT / 'test'}:{ROOT / 'native'}"}
    return subprocess.run(
        [sys.executable, "-m", "sass", *arguments], capture_output=True, text=True, env=environment, check=False
    )


def test_what_the_command_refuses_is_named(tmp_path: Path) -> None:
    unknown = command("no_such_op")
    assert (unknown.returncode, "no kernels in no_such_op; there are " in unknown.stderr) == (2, True)
    large = command("--shared", str(1 << 20), "copy")
    assert (large.returncode, "--shared needs 0 to 232448 bytes, came 1048576" in large.stderr) == (2, True)
    text = tmp_path / "text.cubin"
    text.write_text("not a cubin")
    refused = command("--file", str(text))
    assert refused.returncode == 2
    assert "cuobjdump" in refused.stderr and "Traceback" not in refused.stderr
    nothing = command("--peers", "--wheels", str(tmp_path))
    assert (nothing.returncode, "has no wheels" in nothing.stderr) == (2, True)


def test_ours_stand_beside_the_peers() -> None:
    """And a kernel with products but no loop around them is said to be one."""
    shown = command("products").stdout
    assert [line.split("  ")[0] for line in shown.splitlines() if line.startswith("products  ")] == ["products"] * 3
    assert "FA3 forward, bf16 128x176x128" in shown and "sgl-deep-gemm 0.1.4" in shown
    assert "products tile_example: products, but no main loop" in shown
