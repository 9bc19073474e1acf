"""Loads from global memory that a thread has outstanding, by the scoreboards in the control words, along the ways
through a function's blocks. What an `if` without an `else` guards is done: a row is as long as registers hold."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from sass.graph import Graph, Loop
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
    """A loop with loads less the loops with loads in it; or, where there is no such loop, the whole function."""

    at: int
    is_loop: bool
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


def _parts(graph: Graph) -> Iterator[tuple[frozenset[int], Loop | None]]:
    with_loads = [p for p in graph.loops if any(map(_bytes, graph.instructions(p.blocks)))]
    for loop in with_loads:
        inner = [other.blocks for other in with_loads if other.blocks < loop.blocks]
        yield loop.blocks.difference(*inner), loop
    if not with_loads:
        yield frozenset(range(len(graph.bounds))), None


def parts(graph: Graph) -> list[Part]:
    """Those with loads; the one that loads most comes first."""
    sums, wide = most_in_blocks(graph, _bytes), most_in_blocks(graph, _wide)
    found = []
    for blocks, loop in _parts(graph):
        code = list(graph.instructions(blocks))
        loaded = sum(map(_bytes, code))
        if not loaded:
            continue
        found.append(
            Part(
                at=graph.code[graph.bounds[loop.head][0]].at if loop else graph.code[0].at,
                is_loop=loop is not None,
                issue=len(code),
                loaded=loaded,
                stored=sum(i.bytes for i in code if i.name in ("STG", "ST")),
                under=Under(max(sums[b] for b in blocks), max(wide[b] for b in blocks)),
            )
        )
    return sorted(found, key=lambda part: (-part.loaded, part.at))


def copies(code: list[Instruction]) -> list[str]:
    """Copies that no scoreboard tells of: their bytes are not in what is outstanding."""
    return sorted({i.name for i in code} & set(_COPIES))
