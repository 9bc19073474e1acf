"""Loads from global memory that a thread has outstanding, by the scoreboards in the control words, along the ways
through a function's blocks. What an `if` without an `else` guards is done: a row is as long as registers hold."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from sass.graph import Graph
from sass.machine_code import SCOREBOARDS, Instruction

#: More than the registers of a thread hold; where a scoreboard is never waited for, its sum ends here.
MOST_BYTES = 1024
#: Ways that are kept apart at a block; beyond, the larger of each scoreboard's sums stands for all of them.
MOST_STATES = 64
_LOADS = ("LDG", "LD")
_COPIES = ("LDGSTS", "UBLKCP", "UTMALDG")
State = tuple[int, ...]
Weight = Callable[[Instruction], int]


@dataclass(frozen=True)
class Under:
    """What is under way at the fullest point of a part of a function, for one thread."""

    bytes: int
    wide: int  # loads of 16 bytes


@dataclass(frozen=True)
class Part:
    """A loop with loads less the loops with loads in it; or what is outside of all of them."""

    at: int
    where: str
    issue: int
    loaded: int  # bytes of a thread, both sides of a branch counted
    stored: int
    under: Under


def _bytes(i: Instruction) -> int:
    return i.bytes if i.name in _LOADS else 0


def _wide(i: Instruction) -> int:
    return int(i.name in _LOADS and i.bytes == 16)


Event = tuple[tuple[int, ...], int, int]  # scoreboards that are free, then one that is taken (or -1) and a weight


def _event(i: Instruction, weight: Weight) -> Event:
    freed = i.waits
    if i.name == "DEPBAR" and i.operands.endswith(", 0x0"):
        freed += tuple(b for b in range(SCOREBOARDS) if i.operands.startswith(f"SB{b},"))
    taken = i.sets if i.sets is not None and i.sets < SCOREBOARDS else -1
    return freed, taken, weight(i)


def _events(code: list[Instruction], weight: Weight) -> list[Event]:
    """Those that change what is under way."""
    return [e for e in (_event(i, weight) for i in code) if e[0] or (e[1] >= 0 and e[2])]


def _step(state: State, event: Event) -> State:
    freed, taken, weight = event
    now = list(state)
    for b in freed:
        now[b] = 0
    if taken >= 0:
        now[taken] = min(now[taken] + weight, MOST_BYTES)
    return tuple(now)


def _largest(states: set[State]) -> frozenset[State]:
    """Those that no other one exceeds everywhere."""
    kept = {s for s in states if not any(s != o and all(a <= b for a, b in zip(s, o, strict=True)) for o in states)}
    if len(kept) > MOST_STATES:
        return frozenset([tuple(max(column) for column in zip(*kept, strict=True))])
    return frozenset(kept)


def most_in_blocks(graph: Graph, weight: Weight) -> list[int]:
    """Of each block the largest sum of weights under way at one of its instructions."""
    into: list[frozenset[State]] = [frozenset() for _ in graph.bounds]
    most = [0] * len(graph.bounds)
    into[0] = frozenset([(0,) * SCOREBOARDS])
    events = [_events(graph.code[slice(*bounds)], weight) for bounds in graph.bounds]
    work = [0]
    while work:
        block = work.pop()
        states = into[block]
        most[block] = max(most[block], *(sum(s) for s in states), 0)
        for event in events[block]:
            states = frozenset(_step(s, event) for s in states)
            most[block] = max(most[block], *(sum(s) for s in states))
        for to in graph.taken(block):
            joined = _largest(set(into[to] | states))
            if joined != into[to]:
                into[to] = joined
                work.append(to)
    return most


def _parts(graph: Graph) -> Iterator[tuple[frozenset[int], str]]:
    with_loads = [p for p in graph.loops if any(map(_bytes, graph.instructions(p.blocks)))]
    for loop in with_loads:
        inner = [other.blocks for other in with_loads if other.blocks < loop.blocks]
        yield loop.blocks.difference(*inner), f"loop {graph.code[graph.bounds[loop.head][0]].at:#x}"
    outside = frozenset(range(len(graph.bounds))).difference(*(loop.blocks for loop in with_loads))
    yield outside, "outside" if with_loads else "whole"


def parts(graph: Graph) -> list[Part]:
    """Those with loads: loops, that which loads most first, then what is outside of them."""
    sums, wide = most_in_blocks(graph, _bytes), most_in_blocks(graph, _wide)
    found = []
    for blocks, where in _parts(graph):
        code = list(graph.instructions(blocks))
        loaded = sum(map(_bytes, code))
        if not loaded:
            continue
        found.append(
            Part(
                at=code[0].at,
                where=where,
                issue=len(code),
                loaded=loaded,
                stored=sum(i.bytes for i in code if i.name in ("STG", "ST")),
                under=Under(max(sums[b] for b in blocks), max(wide[b] for b in blocks)),
            )
        )
    return sorted(found, key=lambda part: (part.where == "outside", -part.loaded, part.at))


@dataclass(frozen=True)
class Round:
    """A wait for loads, in the order of addresses, where both sides of a branch stand one behind the other."""

    at: int
    loads: tuple[int, ...]  # where they are
    user: Instruction


def rounds(code: list[Instruction]) -> list[Round]:
    under: dict[int, list[int]] = {}
    found = []
    for i in code:
        freed, taken, size = _event(i, _bytes)
        if ended := [at for b in freed for at in under.pop(b, [])]:
            found.append(Round(i.at, tuple(ended), i))
        if taken >= 0 and size:
            under.setdefault(taken, []).append(i.at)
    return found


def copies(code: list[Instruction]) -> list[str]:
    """Copies that no scoreboard tells of: their bytes are not in what is outstanding."""
    return sorted({i.name for i in code} & set(_COPIES))
