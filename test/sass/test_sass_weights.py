"""The bytes of weights that a loop takes, of code that a hand can count."""

from __future__ import annotations

import pytest
from roofline.cards import delivered
from sass import weights
from sass.compiled import CompiledKernel
from sass.machine_code import Instruction


def loop(product: str, operands: str, others: int) -> CompiledKernel:
    """Two warpgroups, each with one product and `others` additions for each pass."""
    codes = [(product, operands), *[("FADD", "R1, R1, R2")] * others, ("BRA", "0x0"), ("EXIT", "")]
    code = [Instruction(16 * n, "@P0" if name == "BRA" else "", name, o, 0) for n, (name, o) in enumerate(codes)]
    return CompiledKernel("_Z3onev", "one()", 168, 0, 0, 256, code)


SHARED = "R24, gdesc[UR12], R24, UP0"


def test_shared_memory_bounds_a_narrow_loop() -> None:
    """64 rows of 32 bytes and 8 more are 18 clocks at 128 bytes; two warpgroups take 4096 bytes in 36."""
    (one,) = weights.taken(loop("QGMMA.64x8x32.F32.E4M3.E4M3", SHARED, 4))
    assert (one.bytes, one.clocks("H100"), one.clocks("H20")) == (4096, 36, 36)
    assert one.over("H100") == pytest.approx(4096 / 36 / delivered("H100"))


def test_tensor_cores_of_an_h20_bound_a_wide_one() -> None:
    """48 columns are 24 clocks of an H100's and 96 of an H20's; reading them is 28."""
    (one,) = weights.taken(loop("QGMMA.64x48x32.F32.E4M3.E4M3", SHARED, 4))
    assert (one.clocks("H100"), one.clocks("H20")) == (2 * 28, 2 * 96)
    assert one.over("H20") < 1
    assert not one.waits_for_memory("H20")
    assert one.waits_for_memory("H200")


def test_what_is_issued_beside_products_bounds_it_too() -> None:
    """A product, 98 additions and the branch back, of two warpgroups: 200 slots."""
    busy = loop("HGMMA.64x16x16.F32.BF16", SHARED, 98)
    (one,) = weights.taken(busy)
    assert (one.bytes, one.clocks("H100")) == (4096, 200)
    assert weights.short_of_memory(busy).keys() == {"H20, loop 0", "H100, loop 0", "H200, loop 0"}


def test_wide_loops_and_weights_in_registers_are_not_in_it() -> None:
    assert weights.taken(loop("QGMMA.64x128x32.F32.E4M3.E4M3", SHARED, 4)) == []
    assert weights.taken(loop("HGMMA.64x8x16.F32.BF16", "R24, R4, gdesc[UR12], R24, UP0", 4)) == []
