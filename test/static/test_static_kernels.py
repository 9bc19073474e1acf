"""Gates on the compiled CUDA kernels: no spills, no local memory, the claimed instructions, the committed budget."""

from __future__ import annotations

import json
import os
from functools import cache
from pathlib import Path

import opswap
import pytest
from gen.spec import kernel_files
from ops.rooms import kernel_rooms
from roofline.occupancy import RESERVED, SHARED, occupancy
from sass import nvcc, weights
from static import budget
from static.compiled_kernels import Kernel, broken_claims, faults, read_cost, unlimited

ROOT = Path(__file__).resolve().parents[2]
STATUS = opswap.version()["device_status"]
MOST_MEGABYTES = 2048  # of one compilation: two at a time fit into a small machine
pytestmark = pytest.mark.skipif("this build has no CUDA kernels" in STATUS, reason=STATUS)


FEW = """
#include "common/device/attention_few.h"
using namespace opswap;
template <class Memory, int Threads, int ByRegisters>
constexpr bool resides = Memory::kThreads == Threads && (%d / (sizeof(Memory) + %d) < ByRegisters
    ? %d / (sizeof(Memory) + %d) : ByRegisters) == kAttentionResident;
__global__ void none() {}
"""


@cache
def kernels() -> list[Kernel]:
    return budget.read_all(ROOT, Path(os.environ["OPSWAP_CUOBJDUMP"]))


def test_every_room_with_kernels_is_read() -> None:
    names = {room.name for room in kernel_rooms()}
    assert names
    assert {k.op for k in kernels()} == names
    assert {(k.op, k.instance) for k in kernels()} == {of[:2] for of in budget.objects(ROOT)}


def test_no_kernel_spills_or_keeps_anything_in_local_memory() -> None:
    found = {f"{k.op}/{k.instance}/{k.name}": faults(k) for k in kernels()}
    assert {name: texts for name, texts in found.items() if texts} == {}


def test_claims_are_met_and_products_have_limits() -> None:
    broken = {}
    for op, instance in sorted({of[:2] for of in budget.objects(ROOT)}):
        source = "\n".join(path.read_text() for path in kernel_files(ROOT / "kernels" / op))
        own = [k for k in kernels() if (k.op, k.instance) == (op, instance)]
        if texts := broken_claims(source, own) + unlimited(source, own):
            broken[f"{op}/{instance}"] = texts
    assert broken == {}


def test_loops_for_few_tokens_take_weights_faster_than_any_card_delivers_them() -> None:
    narrow = {f"{k.op}/{k.instance}/{k.name}": k.compiled for k in kernels() if weights.taken(k.compiled)}
    assert narrow, "no room has a loop whose columns are tokens"
    short = {name: weights.short_of_memory(kernel) for name, kernel in narrow.items()}
    assert {name: cards for name, cards in short.items() if cards} == {}


def test_the_committed_budget_is_what_was_compiled() -> None:
    committed = (ROOT / budget.TABLE).read_text()
    release = budget.nvcc_release(ROOT)
    if json.loads(committed)["nvcc"] != release:
        pytest.skip(f"nvcc {release} compiled, the table is of {json.loads(committed)['nvcc']}: registers differ")
    text = budget.difference(committed, budget.table(release, kernels()))
    assert not text, f"run: npm run check -- --fix\n{text}"


def test_compilations_fit_a_small_machine() -> None:
    logs = {path.stem: path.read_text() for path in budget.objects_folder(ROOT).glob("*.ptxas")}
    assert set(logs) >= {name for _, _, name in budget.objects(ROOT)}
    large = {name: cost.megabytes for name, log in logs.items() if (cost := read_cost(log)).megabytes > MOST_MEGABYTES}
    assert large == {}


def test_bins_of_attention_are_the_blocks_that_the_compiled_kernels_leave_room_for(tmp_path: Path) -> None:
    few = [k for k in kernels() if k.name.startswith("attend_few_kernel<")]
    assert few
    source = tmp_path / "few.cu"
    head = FEW % (SHARED, RESERVED, SHARED, RESERVED)

    def compile_with(spare: int) -> None:
        """As if each thread took so many registers less."""
        held = {(k.name[18:-1], k.threads, occupancy(k.registers - spare, 0, k.threads).blocks) for k in few}
        lines = [f'static_assert(resides<FewMemory<{of}>, {n}, {blocks}>, "{of}");' for of, n, blocks in held]
        source.write_text(head + "\n".join(lines))
        nvcc.cubin(source, tmp_path / "few.cubin", (*nvcc.OURS, ROOT / "native/core", ROOT / "native/include"))

    compile_with(0)
    with pytest.raises(nvcc.NotCompiled, match="64, 8"):
        compile_with(40)
