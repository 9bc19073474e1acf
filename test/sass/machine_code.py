"""The machine code of compiled kernels as `cuobjdump -sass` prints it: per function the instructions, with what their
control words say of scoreboards."""

from __future__ import annotations

import re
import subprocess
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

_FUNCTION = re.compile(r"^\s*Function : (\S+)\s*$")
_FIRST = re.compile(
    r"^\s+/\*([0-9a-f]{4,8})\*/\s+(?:(@!?U?P\w+)\s+)?([A-Z]\S*)\s*(.*?)\s*;\s*/\* 0x([0-9a-f]{16}) \*/\s*$"
)
_SECOND = re.compile(r"^\s+/\* 0x([0-9a-f]{16}) \*/\s*$")
_TARGET = re.compile(r"\b0x([0-9a-f]+)\s*$")
_WIDTHS = (("128", 16), ("64", 8), ("U16", 2), ("S16", 2), ("16", 2), ("U8", 1), ("S8", 1), ("8", 1))
_NO_SCOREBOARD = 7
SCOREBOARDS = 6
#: Instructions of one function: more than any kernel here by far, and few enough for the graph's sets.
MOST_INSTRUCTIONS = 1 << 17


class UnknownCode(ValueError):
    """A dump that says something this package does not know how to read."""


@dataclass(frozen=True)
class Instruction:
    at: int
    predicate: str  # `@!P0`, or empty
    code: str  # with its modifiers: `LDG.E.128.CONSTANT`
    operands: str
    control: int  # the high 64 bits

    @cached_property
    def name(self) -> str:
        return self.code.split(".", 1)[0]

    @cached_property
    def modifiers(self) -> frozenset[str]:
        return frozenset(self.code.split(".")[1:])

    @property
    def target(self) -> int | None:
        """Where a direct branch or call goes."""
        found = _TARGET.search(self.operands) if self.name in ("BRA", "CALL") else None
        return int(found[1], 16) if found else None

    @property
    def bytes(self) -> int:
        """What a thread moves by it; 4 where no modifier says a width."""
        return next((size for word, size in _WIDTHS if word in self.modifiers), 4)

    @property
    def sets(self) -> int | None:
        """The scoreboard that holds whoever waits for its result."""
        number = self.control >> 46 & 7
        return None if number == _NO_SCOREBOARD else number

    @property
    def waits(self) -> tuple[int, ...]:
        """Scoreboards that must be free before it is issued."""
        mask = self.control >> 52 & 63
        return tuple(b for b in range(SCOREBOARDS) if mask >> b & 1)


def parse(dump: str) -> dict[str, list[Instruction]]:
    """Mangled name of each function, and its instructions in the order of their addresses."""
    found: dict[str, list[Instruction]] = {}
    code: list[Instruction] | None = None
    half: tuple[int, str, str, str] | None = None
    for number, line in enumerate(dump.splitlines(), 1):
        if half is not None:
            second = _SECOND.match(line)
            if second is None or code is None:
                raise UnknownCode(
                    f"line {number}: needs the second word of the instruction before it, came {line!r:.80}"
                )
            code.append(Instruction(*half, int(second[1], 16)))
            half = None
        elif name := _FUNCTION.match(line):
            code = found.setdefault(name[1], [])
            if code:
                raise UnknownCode(f"line {number}: function {name[1]} comes twice; one object at a time")
        elif (first := _FIRST.match(line)) and code is not None:
            if len(code) >= MOST_INSTRUCTIONS or (code and int(first[1], 16) <= code[-1].at):
                raise UnknownCode(f"line {number}: needs rising addresses, at most {MOST_INSTRUCTIONS} instructions")
            half = (int(first[1], 16), first[2] or "", first[3], first[4])
    if half is not None:
        raise UnknownCode(f"ends within the instruction at {half[0]:#x}")
    return found


def run(*command: str | Path, cwd: Path | None = None) -> str:
    texts = [str(c) for c in command]
    ran = subprocess.run(texts, capture_output=True, text=True, errors="replace", cwd=cwd, check=False)
    if ran.returncode:
        raise UnknownCode(f"{texts[0]} ended with {ran.returncode}: {(ran.stderr or ran.stdout).strip()}")
    return ran.stdout


def functions(cuobjdump: Path, path: Path) -> dict[str, list[Instruction]]:
    return parse(run(cuobjdump, "-sass", path))
