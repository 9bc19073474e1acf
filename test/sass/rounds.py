"""Serial rounds of loads from global memory: a load is one round behind the latest load that the code in front of it
has waited for. Each loop is passed once, so what only leads to another pass is left out."""

from __future__ import annotations

from sass.graph import Graph
from sass.machine_code import SCOREBOARDS

#: Per scoreboard the latest round of a load that holds it, and the latest round that was waited for.
State = tuple[tuple[int, ...], int]
_START: State = ((0,) * SCOREBOARDS, 0)


def _forward(graph: Graph) -> list[list[int]]:
    """Successors without those that are heads of the loop that leads to them."""
    return [[to for to in after if not graph.dominators[n] >> to & 1] for n, after in enumerate(graph.successors)]


def _ending(graph: Graph, forward: list[list[int]]) -> set[int]:
    """Blocks that an end of the function can follow in the same pass."""
    found = {n for n, (_, end) in enumerate(graph.bounds) if graph.code[end - 1].name == "EXIT"}
    work = list(found)
    before: list[list[int]] = [[] for _ in forward]
    for n, after in enumerate(forward):
        for to in after:
            before[to].append(n)
    while work:
        for n in before[work.pop()]:
            if n not in found:
                found.add(n)
                work.append(n)
    return found


def _order(forward: list[list[int]]) -> list[int]:
    """Blocks behind all that lead to them."""
    done: set[int] = set()
    order: list[int] = []
    stack = [(0, iter(forward[0]))]
    while stack:
        block, rest = stack[-1]
        to = next((n for n in rest if n not in done), None)
        if to is None:
            order.append(block)
            stack.pop()
        else:
            done.add(to)
            stack.append((to, iter(forward[to])))
    return order[::-1]


def _join(a: State, b: State) -> State:
    return tuple(max(pair) for pair in zip(a[0], b[0], strict=True)), max(a[1], b[1])


def rounds(graph: Graph) -> dict[int, int]:
    """The round of each load that one pass meets, by its address, counted from 1."""
    forward = _forward(graph)
    ending = _ending(graph, forward)
    into: dict[int, State] = {0: _START}
    found: dict[int, int] = {}
    for block in _order(forward):
        if block not in ending or block not in into:
            continue
        held, waited = list(into[block][0]), into[block][1]
        for i in graph.code[slice(*graph.bounds[block])]:
            for b in i.waits:
                waited, held[b] = max(waited, held[b]), 0
            if i.name == "LDG" and i.sets is not None and i.sets < SCOREBOARDS:
                held[i.sets] = max(held[i.sets], waited + 1)
                found[i.at] = waited + 1
        for to in forward[block]:
            state = (tuple(held), waited)
            into[to] = _join(into[to], state) if to in into else state
    return found
