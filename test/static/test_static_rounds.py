"""What is asked for in turn: serial rounds of loads in compiled kernels whose time is that of a few of them."""

from __future__ import annotations

import os
import re
from pathlib import Path

import opswap
import pytest
from ops.rooms import ROOT
from sass import nvcc
from sass.compiled import CompiledKernel, read
from sass.rounds import rounds
from static import budget

STATUS = opswap.version()["device_status"]
pytestmark = pytest.mark.skipif("this build has no CUDA kernels" in STATUS, reason=STATUS)
CUOBJDUMP = Path(os.environ.get("OPSWAP_CUOBJDUMP", ""))

#: In one pass of these a token has all of its heads.
ONE_PASS = re.compile(r"qk_norm_rope_kernel<(\d+), 1, (true|false), SlotMapping, \w+>")
OPS = ("qk_norm_rope_store_kv", "qk_norm_rope_store_kv_fp8")
INSTANCES = ("sm90_float32", "sm90_bfloat16", "sm90_float16")

PLANTED = """
// A place, what lies there, and beside both what waits for nothing; `again` goes round.
extern "C" __global__ void chased(const int *places, const float4 *from, float4 *to, int n, bool again) {
  const float4 beside = from[threadIdx.x];
#pragma unroll 1
  for (int i = threadIdx.x;;) {
    const float4 x = from[places[i]];
    to[i] = make_float4(x.x + beside.x, x.y + beside.y, x.z + beside.z, x.w + beside.w);
    if (!again || (i += 32) >= n) return;
  }
}
// The same, but nothing is asked for before the last answer is used.
extern "C" __global__ void in_turn(const int *places, const float4 *from, float4 *to, int n, bool again) {
  const float4 beside = from[threadIdx.x];
  to[n] = beside;
  __threadfence();
#pragma unroll 1
  for (int i = threadIdx.x;;) {
    const float4 x = from[places[i] + (beside.x > 0)];
    to[i] = x;
    if (!again || (i += 32) >= n) return;
  }
}
"""


def wide_in_first(kernel: CompiledKernel) -> int:
    found = rounds(kernel.graph)
    return sum(i.bytes == 16 and found.get(i.at) == 1 for i in kernel.code)


@pytest.mark.parametrize("op", OPS)
@pytest.mark.parametrize("instance", INSTANCES)
def test_a_token_asks_for_everything_but_its_angles_at_once(op: str, instance: str) -> None:
    """Two query heads, a key, a value and two weights; cosines and sines wait for the position."""
    kernels = read(CUOBJDUMP, budget.objects_folder(ROOT) / f"{op}.{instance}.o")
    held = [(k, match[1]) for k in kernels if (match := ONE_PASS.fullmatch(k.short))]
    found = {k.short: max(rounds(k.graph).values()) for k, _ in held}
    assert len(found) == 4 and set(found.values()) == {2}, found
    wide = {k.short: wide_in_first(k) for k, pairs in held if pairs != "1"}
    assert sorted(wide.values()) == [6, 12], wide


def test_loads_that_wait_for_loads_are_counted(tmp_path: Path) -> None:
    source, cubin = tmp_path / "planted.cu", tmp_path / "planted.cubin"
    source.write_text(PLANTED)
    nvcc.cubin(source, cubin)
    found = {k.short: max(rounds(k.graph).values()) for k in read(CUOBJDUMP, cubin)}
    assert found == {"chased": 2, "in_turn": 3}
