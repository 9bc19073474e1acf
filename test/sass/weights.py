"""Main loops whose columns are tokens: the bytes of weights that they can take, over what memory delivers."""

from __future__ import annotations

from dataclasses import dataclass

from roofline.cards import DEVICES, delivered
from sass.compiled import CompiledKernel
from sass.products import MainLoop, main_loops, together

#: Columns up to which a product's rows are weights.
NARROW = 64


@dataclass(frozen=True)
class Taken:
    """By a pass of a loop, all warpgroups together."""

    number: int
    loop: MainLoop
    clocks: int  # of the tensor cores, or of what is busier
    bytes: int  # of weights

    @property
    def a_clock(self) -> float:
        return self.bytes / self.clocks

    def over(self) -> dict[str, float]:
        return {name: self.a_clock / delivered(name) for name in DEVICES}


def taken(kernel: CompiledKernel) -> list[Taken]:
    found, groups = [], kernel.math_warpgroups
    for number, loop in enumerate(main_loops(kernel.graph)):
        if loop.widest <= NARROW and loop.first_bytes:
            all_groups = together([(loop, groups)])
            clocks = round(all_groups.tensor * max(1.0, all_groups.busiest_share))
            found.append(Taken(number, loop, clocks, groups * loop.first_bytes))
    return found
