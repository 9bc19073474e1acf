"""Words of matrix descriptors: the high halves that products are given, where they are constants of the code."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator

from sass.machine_code import Instruction
from sass.model import product

_GDESC = re.compile(r"\bgdesc\[UR(\d+)\]")
_WRITTEN = re.compile(r"^(U?R)(\d+)\b")
_NUMBER = re.compile(r"^(?:U?R\d+, )(?:RZ, RZ, )?0x([0-9a-f]+)$")
_COPY = re.compile(r"^(?:U?R\d+, )(?:RZ, RZ, )?(U?R\d+)(?:\.reuse)?$")
_SUM = re.compile(r"^UR\d+, UR(\d+), 0x[0-9a-f]+, URZ$")
_HALVES = re.compile(r"^R\d+, -RZ, RZ, (\S+), (\S+)$")
_MOVES = ("UMOV", "MOV", "IMAD", "R2UR")
Values = dict[str, "int | None"]


def _half(text: str) -> int:
    return int(struct.unpack("<H", struct.pack("<e", float(text)))[0])


def _moved(i: Instruction, values: Values) -> int | None:
    """What a move writes, if that is known."""
    if i.name in _MOVES and (number := _NUMBER.match(i.operands)):
        return int(number[1], 16)
    if i.name in _MOVES and (copy := _COPY.match(i.operands)):
        return values.get(copy[1])
    if i.name == "HFMA2" and (halves := _HALVES.match(i.operands)):
        return _half(halves[1]) << 16 | _half(halves[2])
    return None


def _follow(i: Instruction, values: Values) -> None:
    """`advance` adds 64 bits, and never so much that the low half runs over."""
    written = _WRITTEN.match(i.operands)
    if written is None:
        return
    register = f"{written[1]}{written[2]}"
    second = f"{written[1]}{int(written[2]) + 1}"
    added = _SUM.match(i.operands) if i.code == "UIADD3.64" else None
    high = values.get(f"UR{int(added[1]) + 1}") if added else None
    values[register] = _moved(i, values)
    if i.modifiers & {"64", "WIDE"}:
        values[second] = high


def _words(i: Instruction, base: int, values: Values) -> Iterator[int | None]:
    """Of A, where it lies in shared memory, and of B: the second register of each pair. That of A has its place too
    where A is in registers."""
    one = product(i)
    for place in (3,) if one and one.a_in_registers else (1, 3):
        yield values.get(f"UR{base + place}")


def high_words(code: list[Instruction]) -> set[int | None]:
    """Of all products. None: a word that is computed, or comes on a way that the order of addresses does not show."""
    values: Values = {}
    found: set[int | None] = set()
    for i in code:
        if product(i) and (gdesc := _GDESC.search(i.operands)):
            found.update(_words(i, int(gdesc[1]), values))
        _follow(i, values)
    return found
