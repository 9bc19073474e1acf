"""Dumps of machine code, made up and mangled: what is read is what was written, the rest is refused by name."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sass.descriptors import high_words
from sass.graph import Graph
from sass.machine_code import Instruction, UnknownCode, parse
from sass.memory import most_in_blocks, parts, rounds
from sass.model import pipe, product
from sass.products import main_loops

WORD = st.integers(0, 2**64 - 1)
NAMES = st.sampled_from(
    ["LDG.E.128", "STG.E", "BRA", "EXIT", "IMAD.WIDE", "HGMMA.64x128x16.F32.BF16", "MUFU.RCP", "LDC"]
)
OPERANDS = st.sampled_from(
    ["R2, R3", "R8, desc[UR8][R2.64]", "0x40", "R24, gdesc[UR12], R24, UP0", "UR15, 0x40000040", ""]
)
PREDICATES = st.sampled_from(["", "@P0", "@!P1", "@UP0"])
PROGRAMS = st.lists(st.tuples(PREDICATES, NAMES, OPERANDS, WORD), min_size=1, max_size=40)


def written(program: list[tuple[str, str, str, int]], name: str = "_Z1kv") -> str:
    lines = [f"\t\tFunction : {name}", '\t.headerflags\t@"EF_CUDA_SM90"']
    for n, (predicate, code, operands, control) in enumerate(program):
        text = " ".join(part for part in (code, operands) if part)
        lines.append(f"        /*{16 * n:04x}*/  {predicate:>8} {text} ;  /* 0x{n:016x} */")
        lines.append(f"            /* 0x{control:016x} */")
    return "\n".join([*lines, "\t\t.........."])


@given(PROGRAMS)
def test_what_is_read_is_what_was_written(program: list[tuple[str, str, str, int]]) -> None:
    (code,) = parse(written(program)).values()
    assert [(i.predicate, i.code, i.operands, i.control) for i in code] == program
    assert [i.at for i in code] == [16 * n for n in range(len(program))]


@settings(max_examples=200)
@given(PROGRAMS, st.integers(0, 2**32))
def test_a_mangled_dump_is_read_or_refused(program: list[tuple[str, str, str, int]], seed: int) -> None:
    """Whatever comes of it can be looked at; nothing else than UnknownCode is raised."""
    draw = random.Random(seed)
    lines = written(program).splitlines()
    for _ in range(draw.randint(1, 4)):
        at = draw.randrange(len(lines))
        kind = draw.randrange(3)
        if kind == 0:
            del lines[at]
        elif kind == 1:
            lines.insert(at, draw.choice(lines))
        else:
            lines[at] = "".join(c if draw.random() > 0.1 else chr(draw.randrange(32, 127)) for c in lines[at])
        if not lines:
            return
    try:
        found = parse("\n".join(lines))
    except UnknownCode:
        return
    for code in found.values():
        if code:
            look(code)


def look(code: list[Instruction]) -> None:
    graph = Graph(code)
    parts(graph)
    main_loops(graph)
    high_words(code)
    for i in code:
        product(i)
        pipe(i)


def test_half_an_instruction_is_refused() -> None:
    lines = written([("", "EXIT", "", 0)]).splitlines()
    with pytest.raises(UnknownCode, match="ends within the instruction at 0x0"):
        parse("\n".join(lines[:3]))
    with pytest.raises(UnknownCode, match="needs the second word"):
        parse("\n".join([*lines[:3], lines[2]]))
    with pytest.raises(UnknownCode, match="comes twice"):
        parse("\n".join([*lines, *lines]))


EDGES = st.lists(st.tuples(st.integers(0, 11), st.integers(0, 11), st.booleans()), max_size=14)


def program_of(edges: list[tuple[int, int, bool]]) -> list[Instruction]:
    """A branch at each place that an edge names, from there to the other; conditional or not."""
    at = {start: (to, always) for start, to, always in edges}
    code = []
    for n in range(12):
        if n in at:
            to, always = at[n]
            code.append(Instruction(16 * n, "" if always else "@P0", "BRA", f"{16 * to:#x}", 0))
        else:
            code.append(Instruction(16 * n, "", "NOP", "", 0))
    return [*code, Instruction(16 * 12, "", "EXIT", "", 0)]


def reached(graph: Graph, without: int) -> set[int]:
    seen, work = set(), [0] if without != 0 else []
    while work:
        block = work.pop()
        if block not in seen:
            seen.add(block)
            work += [to for to in graph.successors[block] if to != without]
    return seen


@given(EDGES)
def test_dominators_are_what_no_way_can_leave_out(edges: list[tuple[int, int, bool]]) -> None:
    graph = Graph(program_of(edges))
    everywhere = reached(graph, -1)
    for without in everywhere:
        cut = everywhere - reached(graph, without) if without else everywhere
        assert cut == {b for b in everywhere if graph.dominators[b] >> without & 1}


@given(EDGES)
def test_a_loop_is_entered_at_its_head_alone(edges: list[tuple[int, int, bool]]) -> None:
    graph = Graph(program_of(edges))
    everywhere = reached(graph, -1)
    for loop in graph.loops:
        if loop.head not in everywhere:
            continue
        for block in (loop.blocks - {loop.head}) & everywhere:
            assert set(graph.predecessors[block]) & everywhere <= loop.blocks


LOADS = st.lists(
    st.tuples(st.sampled_from(["LDG.E.128", "LDG.E.64", "LDG.E", "IADD3"]), st.integers(0, 7), st.integers(0, 63)),
    min_size=1,
    max_size=30,
)
WIDTH = {"LDG.E.128": 16, "LDG.E.64": 8, "LDG.E": 4, "IADD3": 0}


@given(LOADS)
def test_loads_under_way_of_code_without_branches(rows: list[tuple[str, int, int]]) -> None:
    """Against a list of loads, each gone when somebody waits for its scoreboard."""
    code, under, most = [], [], 0
    for n, (name, taken, waits) in enumerate(rows):
        code.append(Instruction(16 * n, "", name, "R0", taken << 46 | waits << 52))
        under = [(b, size) for b, size in under if not waits >> b & 1]
        if taken < 6:
            under.append((taken, WIDTH[name]))
        most = max(most, sum(size for _, size in under))
    assert max(most_in_blocks(Graph(code), lambda i: i.bytes if i.name == "LDG" else 0)) == most


def test_what_an_if_guards_is_done_and_both_sides_of_an_else_are_tried() -> None:
    """A short row skips the use of what it did not load; the loads of a row that is long enough do not add up."""
    load, use = 0 << 46, 7 << 46 | 1 << 52
    nothing = 7 << 46

    def code(*rows: tuple[str, str, str, int]) -> Graph:
        return Graph([Instruction(16 * n, p, name, o, c) for n, (p, name, o, c) in enumerate(rows)])

    guarded = code(
        ("@!P0", "LDG.E.128", "R4", load),
        ("@P0", "BRA", "0x30", nothing),
        ("", "FADD", "R0, R4", use),
        ("", "LDG.E.128", "R4", load),
        ("", "EXIT", "", nothing),
    )
    assert max(most_in_blocks(guarded, lambda i: i.bytes if i.name == "LDG" else 0)) == 16
    either = code(
        ("@P0", "BRA", "0x40", nothing),
        ("", "LDG.E.128", "R4", load),
        ("", "LDG.E.128", "R8", load),
        ("", "BRA", "0x50", nothing),
        ("", "LDG.E.64", "R4", load),
        ("", "EXIT", "", nothing),
    )
    (part,) = parts(either)
    assert (part.under.bytes, part.under.wide, part.loaded, part.where) == (32, 2, 40, "whole")


def test_pipes_and_products() -> None:
    """Of the throughput table: 32 lanes over 16 results a clock and sub-partition are 2 cycles, over 4 they are 8."""

    def one(code: str, operands: str = "R0, R1, R2") -> Instruction:
        return Instruction(0, "", code, operands, 0)

    assert pipe(one("FFMA")) == ("fma", 1)
    assert pipe(one("LOP3.LUT")) == ("alu", 2)
    assert pipe(one("MUFU.EX2")) == ("mufu", 8)
    assert pipe(one("LDS.128")) == ("shared", 16)
    assert pipe(one("LDSM.16.M88.4")) == ("shared", 16)
    assert pipe(one("NOP")) is None
    in_memory = product(one("HGMMA.64x64x16.F32.BF16", "R24, gdesc[UR12], R24"))
    in_registers = product(one("QGMMA.64x256x32.F32.E4M3.E4M3", "R24, R4, gdesc[UR12], R24"))
    assert in_memory is not None and in_registers is not None
    assert (in_memory.shape, in_memory.cycles, in_memory.ideal) == ("HGMMA.64x64x16.SS", 32, 32)
    assert (in_registers.shape, in_registers.cycles, in_registers.shared_memory) == ("QGMMA.64x256x32.RS", 128, 64)
    narrow = product(one("HGMMA.64x8x16.F32.BF16", "R24, gdesc[UR12], R24"))
    assert narrow is not None and (narrow.cycles, narrow.ideal) == (18, 4)


def test_descriptors_words_go_through_moves_sums_and_halves() -> None:
    def words(*moves: tuple[str, str]) -> set[int | None]:
        rows = [*moves, ("HGMMA.64x64x16.F32.BF16", "R24, gdesc[UR12], R24")]
        return high_words([Instruction(16 * n, "", code, operands, 0) for n, (code, operands) in enumerate(rows)])

    both = ("UMOV", "UR13, 0x40000040"), ("UMOV", "UR15, 0x40000040")
    assert words(*both) == {0x40000040}
    assert words(both[0]) == {0x40000040, None}
    assert words(*both, ("UIADD3.64", "UR14, UR12, 0x2, URZ")) == {0x40000040}
    assert words(("HFMA2.MMA", "R3, -RZ, RZ, 2, 3.814697265625e-06"), ("R2UR", "UR13, R3"), both[1]) == {0x40000040}
    assert words(*both, ("ULDC.64", "UR14, c[0x0][0x208]")) == {0x40000040, None}


def test_rounds_name_who_waits_for_which_loads() -> None:
    """Two loads on one scoreboard end together; one that nobody waits for is in no round."""
    rows = [("LDG.E", 0, 0), ("LDG.E.64", 0, 0), ("IADD3", 7, 1), ("LDG.E", 3, 0), ("FADD", 7, 1 << 2), ("LDG.E", 4, 8)]
    code = [Instruction(16 * n, "", name, "R0", taken << 46 | w << 52) for n, (name, taken, w) in enumerate(rows)]
    assert [(r.at, r.loads, r.user.name) for r in rounds(code)] == [
        (0x20, (0x0, 0x10), "IADD3"),
        (0x50, (0x30,), "LDG"),
    ]


def test_a_branch_by_a_table_leads_behind_it() -> None:
    def one(*names: str) -> Graph:
        return Graph([Instruction(16 * n, "", *name.partition(" ")[::2], 0) for n, name in enumerate(names)])

    graph = one("NOP", "BRX R4 -0x20", "EXIT", "FADD", "EXIT")
    assert (graph.successors[0], all(graph.entered)) == ([1, 2], True)
    assert one("NOP", "EXIT", "FADD", "EXIT").entered == [True, False]
