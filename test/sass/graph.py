"""Basic blocks of a function, how control goes between them, and its loops: natural ones, by dominators."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from sass.machine_code import Instruction

_ENDS = ("BRA", "BRX", "JMX", "CALL", "EXIT", "RET")
_NEVER_GOES_ON = ("BRA", "BRX", "JMX", "EXIT", "RET")
#: Branches by a table, which a dump does not hold.
BY_TABLE = ("BRX", "JMX")
#: A predicate among the operands, or a lane that may diverge: the branch may fall through.
_CONDITION = re.compile(r"^!?U?P\d")


@dataclass(frozen=True)
class Loop:
    head: int  # number of the block that every pass starts with
    blocks: frozenset[int]


class Graph:
    def __init__(self, code: list[Instruction]) -> None:
        self.code = code
        self.bounds = self._bounds()
        self.successors = [self._next(n) for n in range(len(self.bounds))]
        #: Whether some way leads to a block from the entry.
        self.entered = [False] * len(self.bounds)
        self._enter(0)
        self._follow_tables()
        self.predecessors: list[list[int]] = [[] for _ in self.bounds]
        for block, after in enumerate(self.successors):
            for to in after:
                self.predecessors[to].append(block)

    def _bounds(self) -> list[tuple[int, int]]:
        """First and one past the last instruction of each block."""
        at = {i.at: n for n, i in enumerate(self.code)}
        starts = {0}
        for n, i in enumerate(self.code):
            if i.name in _ENDS:
                starts.add(n + 1)
                if i.target in at:
                    starts.add(at[i.target])
        order = sorted(s for s in starts if s < len(self.code))
        return list(zip(order, [*order[1:], len(self.code)], strict=True))

    @cached_property
    def _block_at(self) -> dict[int, int]:
        return {self.code[first].at: n for n, (first, _) in enumerate(self.bounds)}

    def _next(self, block: int) -> list[int]:
        last = self.code[self.bounds[block][1] - 1]
        to = [self._block_at[last.target]] if last.target in self._block_at else []
        lanes = bool(last.modifiers & {"DIV", "CONV", "ANY"})
        always = not last.predicate and not lanes and not _CONDITION.match(last.operands)
        if not (last.name in _NEVER_GOES_ON and always) and block + 1 < len(self.bounds):
            to.append(block + 1)
        return to

    def _enter(self, block: int) -> None:
        work = [block]
        while work:
            block = work.pop()
            if not self.entered[block]:
                self.entered[block] = True
                work += self.successors[block]

    def _follow_tables(self) -> None:
        """A branch by a table is taken to lead to what stands between it and the next, and nothing else leads to."""
        by_table = [n for n, (_, end) in enumerate(self.bounds) if self.code[end - 1].name in BY_TABLE]
        for block in range(len(self.bounds)):
            if by_table and not self.entered[block]:
                self.successors[max((n for n in by_table if n < block), default=by_table[0])].append(block)
                self._enter(block)

    @cached_property
    def dominators(self) -> list[int]:
        """Of each block those that every way to it passes, as bits; all of them where no way leads to it."""
        every = (1 << len(self.bounds)) - 1
        found = [1] + [every] * (len(self.bounds) - 1)
        changed = True
        while changed:
            changed = False
            for block in range(1, len(found)):
                now = every
                for p in self.predecessors[block]:
                    now &= found[p]
                if now != every:
                    now |= 1 << block
                changed, found[block] = changed or now != found[block], now
        return found

    @cached_property
    def loops(self) -> list[Loop]:
        """Larger ones first; those with the same head are one."""
        bodies: dict[int, set[int]] = {}
        for tail, after in enumerate(self.successors):
            for head in after:
                if self.entered[tail] and self.dominators[tail] >> head & 1:
                    self._collect(bodies.setdefault(head, {head}), tail)
        loops = [Loop(head, frozenset(blocks)) for head, blocks in bodies.items()]
        return sorted(loops, key=lambda loop: (-len(loop.blocks), loop.head))

    def _collect(self, body: set[int], tail: int) -> None:
        work = [tail]
        while work:
            block = work.pop()
            if block not in body and self.entered[block]:
                body.add(block)
                work += self.predecessors[block]

    @cached_property
    def _reached(self) -> list[int]:
        """Of each block those that follow without going back to the head of a loop, as bits."""
        found = [0] * len(self.bounds)
        changed = True
        while changed:
            changed = False
            for block in reversed(range(len(found))):
                now = found[block]
                for to in self.successors[block]:
                    if not self.dominators[block] >> to & 1:
                        now |= 1 << to | found[to]
                changed, found[block] = changed or now != found[block], now
        return found

    def taken(self, block: int) -> list[int]:
        """Where control goes when what an `if` without an `else` guards is done, and every loop is passed."""
        to = self.successors[block]
        if len(to) == 2 and self._reached[to[1]] >> to[0] & 1:
            return to[1:]
        return to

    def instructions(self, blocks: frozenset[int]) -> Iterator[Instruction]:
        for block in sorted(blocks):
            yield from self.code[slice(*self.bounds[block])]
