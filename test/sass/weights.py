"""Main loops whose columns are tokens: the bytes of weights that they can take, over what memory delivers."""

from __future__ import annotations

from dataclasses import dataclass

from roofline.cards import DEVICES, TENSOR_CLOCKS, delivered
from sass.compiled import CompiledKernel
from sass.model import Product
from sass.products import MainLoop, main_loops, together

#: Columns up to which a product's rows are weights.
NARROW = 64


@dataclass(frozen=True)
class Taken:
    """By a pass of a loop, all warpgroups together."""

    number: int
    loop: MainLoop
    groups: int  # warpgroups

    @property
    def bytes(self) -> int:
        """Of weights."""
        return self.groups * self.loop.first_bytes

    def clocks(self, card: str) -> int:
        """Of the tensor cores, or of what is busier."""
        all_groups = together([(self.loop, self.groups)])
        busiest = round(all_groups.tensor * all_groups.busiest_share)
        return max(busiest, self.groups * _tensor(self.loop, TENSOR_CLOCKS[card]))

    def over(self, card: str) -> float:
        return self.bytes / self.clocks(card) / delivered(card)

    def waits_for_memory(self, card: str) -> bool:
        """Whether the card's tensor cores alone would let a loop of so many tokens take enough."""
        ideal = self.groups * self.loop.ideal * TENSOR_CLOCKS[card]
        return self.bytes / ideal / delivered(card) >= self.least

    @property
    def least(self) -> float:
        return LEAST_SOFTMAX if self.loop.pipes["mufu"] else LEAST


#: What is asked of products alone, and of attention, whose loop has the softmax between its products: 0.8 of the time
#: that memory takes for a tile.
LEAST, LEAST_SOFTMAX = 1.5, 1.25


def _tensor(loop: MainLoop, tensor_clocks: int) -> int:
    return sum(n * _product(shape).cycles_on(tensor_clocks) for shape, n in loop.shapes.items())


def _product(shape: str) -> Product:
    return Product(shape, int(shape.split("x")[1]), shape.endswith("RS"))


def taken(kernel: CompiledKernel) -> list[Taken]:
    loops = enumerate(main_loops(kernel.graph))
    return [Taken(n, loop, kernel.math_warpgroups) for n, loop in loops if loop.widest <= NARROW and loop.first_bytes]


def short_of_memory(kernel: CompiledKernel) -> dict[str, float]:
    """Cards on which a loop takes too little, though the card's tensor cores would let it take enough."""
    return {
        f"{card}, loop {one.number}": one.over(card)
        for one in taken(kernel)
        for card in DEVICES
        if one.waits_for_memory(card) and one.over(card) < one.least
    }
