"""A compiled file, an object or a cubin, kernel by kernel: what it takes of an SM, and its machine code as a graph."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from sass.graph import Graph
from sass.machine_code import Instruction, UnknownCode, functions, run

_USAGE = re.compile(r"^ Function (\S+):\s*\n\s*REG:(\d+) STACK:(\d+) SHARED:(\d+)", re.M)
_THREADS = re.compile(r"^\.nv\.info\.(\S+)|EIATTR_MAX_THREADS\s+Format:\s*\S+\s+Value:\s*([0-9a-fx ]+)", re.M)
_ROLES = re.compile(r"\bopswap::(sm90(_\w+)?::|sm90_\w+::|\(anonymous namespace\)::)*")
MAX_THREADS = 1024
WARPGROUP = 128
#: What cuobjdump counts as static shared memory and the system keeps for itself.
RESERVED = 1024


@dataclass(frozen=True)
class CompiledKernel:
    symbol: str
    name: str  # demangled
    registers: int
    stack: int
    shared: int  # static bytes; dynamic shared memory is the launch's
    threads: int  # most that a block may have
    code: list[Instruction]

    @cached_property
    def graph(self) -> Graph:
        return Graph(self.code)

    @property
    def short(self) -> str:
        return short_name(self.name)

    @property
    def math_warpgroups(self) -> int:
        """Those of a full block, less the one that loads where registers are handed between them."""
        groups = max(1, self.threads // WARPGROUP)
        handed = any(i.name == "USETMAXREG" for i in self.code)
        return groups - 1 if handed and groups > 1 else groups


def short_name(name: str) -> str:
    """`rms_norm_kernel<8>` out of the demangled name."""
    name = _ROLES.sub("", re.sub(r"^void ", "", name))
    depth = 0
    for at, letter in enumerate(name):
        depth += {"<": 1, ">": -1}.get(letter, 0)
        if letter == "(" and depth == 0 and at:
            return name[:at]
    return name


def launch_bounds(elf: str) -> dict[str, int]:
    """Threads of a block at most, of each kernel that says so."""
    bounds: dict[str, int] = {}
    symbol = ""
    for found in _THREADS.finditer(elf):
        if found[1]:
            symbol = found[1]
        else:
            count = 1
            for word in found[2].split():
                count *= int(word, 16)
            bounds[symbol] = min(count, MAX_THREADS)
    return bounds


def demangled(symbols: list[str]) -> list[str]:
    return run("c++filt", *symbols).splitlines() if symbols else []


def read(cuobjdump: Path, path: Path) -> list[CompiledKernel]:
    code = functions(cuobjdump, path)
    if not code:
        raise UnknownCode(f"{path} has no compiled kernels")
    usage = {name: [int(n) for n in rest] for name, *rest in _USAGE.findall(run(cuobjdump, "-res-usage", path))}
    bounds = launch_bounds(run(cuobjdump, "-elf", path))
    if missing := sorted(set(code) - set(usage)):
        raise UnknownCode(f"{path}: cuobjdump -res-usage says nothing of {', '.join(missing)}")
    kernels = []
    for symbol, name in zip(code, demangled(list(code)), strict=True):
        registers, stack, shared = usage[symbol]
        own = max(0, shared - RESERVED)
        threads = bounds.get(symbol, MAX_THREADS)
        kernels.append(CompiledKernel(symbol, name, registers, stack, own, threads, code[symbol]))
    return sorted(kernels, key=lambda k: k.short)
