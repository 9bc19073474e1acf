"""Main loops of a function, those with tensor products inside, and what a pass of them issues."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from sass.graph import Graph
from sass.machine_code import Instruction
from sass.model import pipe, product

_PENDING = re.compile(r"\bgsb\d, 0x([0-9a-f]+)")


@dataclass
class MainLoop:
    """One pass, for one warp of one warpgroup; loops in it that only wait are left out."""

    first: int
    last: int
    issue: int = 0
    tensor: int = 0
    ideal: int = 0
    products: int = 0
    product_shared: int = 0  # clocks that products take of shared memory
    widest: int = 0  # columns of a product at most
    first_bytes: int = 0  # of first operands in shared memory
    shapes: Counter[str] = field(default_factory=Counter)
    pipes: Counter[str] = field(default_factory=Counter)
    waits_idle: int = 0  # for products, until no group is under way
    waits_under_way: int = 0
    named_barriers: int = 0
    mbarriers: int = 0

    @property
    def shared(self) -> int:
        return self.pipes["shared"] + self.product_shared

    @property
    def issue_per_100(self) -> float:
        """Issue slots for each 100 cycles of the tensor cores."""
        return 100 * self.issue / self.tensor

    @property
    def beside(self) -> int:
        """Cycles of the busiest of what is not products."""
        return max(self.issue, *(self.pipes[p] for p in ("alu", "fma", "mufu", "shared")))


def _count(loop: MainLoop, i: Instruction) -> None:
    loop.issue += 1
    loop.named_barriers += i.name == "BAR"
    loop.mbarriers += i.name == "SYNCS"
    if found := product(i):
        loop.products += 1
        loop.tensor += found.cycles
        loop.ideal += found.ideal
        loop.product_shared += found.shared_memory
        loop.widest = max(loop.widest, found.columns)
        loop.first_bytes += found.first_bytes
        loop.shapes[found.shape] += 1
    elif taken := pipe(i):
        loop.pipes[taken[0]] += taken[1]
    elif i.code.startswith("WARPGROUP.DEPBAR") and (pending := _PENDING.search(i.operands)):
        if int(pending[1], 16):
            loop.waits_under_way += 1
        else:
            loop.waits_idle += 1


def main_loops(graph: Graph) -> list[MainLoop]:
    """The innermost loops with products, in the order of their heads."""
    has = {loop: any(map(product, graph.instructions(loop.blocks))) for loop in graph.loops}
    with_products = [loop for loop in graph.loops if has[loop]]
    found = []
    for loop in with_products:
        if any(other.blocks < loop.blocks for other in with_products):
            continue
        kept = set(loop.blocks)
        for spin in graph.loops:
            if not has[spin] and spin.blocks <= loop.blocks:
                kept -= spin.blocks
        code = list(graph.instructions(frozenset(kept)))
        one = MainLoop(graph.code[graph.bounds[loop.head][0]].at, code[-1].at)
        for i in code:
            _count(one, i)
        found.append(one)
    return sorted(found, key=lambda one: one.first)


@dataclass(frozen=True)
class Together:
    """Loops that warpgroups run at the same time on one SM, and the share of the tensor cores that follows."""

    products: int
    tensor: int
    issue: int
    mufu: int
    shared: int
    waits_idle: int
    waits_under_way: int
    named_barriers: int
    mbarriers: int
    overlapped: float  # all warpgroups overlap perfectly
    alternating: float  # a warpgroup does nothing else while its products run, and another one fills the gap
    alone: float  # nothing overlaps
    busiest: str
    busiest_share: float  # of the tensor cycles


def together(roles: Iterable[tuple[MainLoop, int]]) -> Together:
    """`roles`: a loop, and the warpgroups that are in it."""
    each = list(roles)

    def total(of: str) -> int:
        return sum(w * getattr(loop, of) for loop, w in each)

    def taken(name: str) -> int:
        return sum(w * loop.pipes[name] for loop, w in each)

    tensor, ideal = total("tensor"), total("ideal")
    others = {"issue": total("issue"), "shared": total("shared"), **{p: taken(p) for p in ("alu", "fma", "mufu")}}
    busiest = max(others, key=lambda name: others[name])
    chain = max(loop.tensor + loop.beside for loop, _ in each)
    return Together(
        total("products"),
        tensor,
        others["issue"],
        others["mufu"],
        others["shared"],
        sum(loop.waits_idle for loop, _ in each),
        sum(loop.waits_under_way for loop, _ in each),
        sum(loop.named_barriers for loop, _ in each),
        sum(loop.mbarriers for loop, _ in each),
        overlapped=ideal / max(tensor, others[busiest]),
        alternating=min(1.0, ideal / max(tensor, chain)),
        alone=min(loop.ideal / (loop.tensor + loop.beside) for loop, _ in each),
        busiest=busiest,
        busiest_share=others[busiest] / tensor,
    )
