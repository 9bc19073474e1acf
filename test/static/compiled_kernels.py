"""Registers, memory and instructions of the compiled CUDA kernels, read from their object files and ptxas logs."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import cached_property
from pathlib import Path

from sass import compiled
from sass.compiled import CompiledKernel
from sass.descriptors import high_words
from sass.memory import parts
from sass.products import main_loops

_PTXAS = re.compile(
    r"Function properties for (?P<symbol>\S+)\s+(?P<stack>\d+) bytes stack frame, (?P<stores>\d+) bytes spill stores, "
    r"(?P<loads>\d+) bytes spill loads\s+ptxas info\s+: Used (?P<registers>\d+) registers(?P<rest>[^\n]*)"
)
#: In ptxas's words: wgmma instructions that it keeps from running on, with the number of the reason (C7510, C7514 ..).
_SERIALIZED = r"(?:\((C\d+)\)[^\n]*)?wgmma[^\n]*serialized[^\n]*'{}'"
_COST = re.compile(r"^cost: ([\d.]+) s of CPU, (\d+) MB$", re.M)
_LOCAL = ("LDL", "STL")
#: Copies that one thread asks for.
_BULK = ("UTMALDG", "UTMASTG", "UTMAREDG", "UTMAPF", "UBLKCP", "UBLKRED", "UBLKPF")


@dataclass(frozen=True)
class Kernel:
    """One __global__ function of one instance of a room."""

    op: str
    instance: str
    name: str
    registers: int
    shared: int  # static bytes; dynamic shared memory is the launch's
    barriers: int
    threads: int  # most that a block may have
    stack: int
    spills: int  # bytes stored and loaded
    serialized: str  # why ptxas put waits between wgmma instructions, or empty
    compiled: CompiledKernel = field(repr=False, compare=False)

    @cached_property
    def opcodes(self) -> frozenset[str]:
        return frozenset(i.code for i in self.compiled.code)

    @property
    def local_memory(self) -> list[str]:
        return sorted(code for code in self.opcodes if code.split(".")[0] in _LOCAL)

    @cached_property
    def outstanding(self) -> int:
        """Bytes of loads that a thread has under way in the part that loads most."""
        return max((part.under.bytes for part in parts(self.compiled.graph)[:1]), default=0)

    @cached_property
    def issue_per_100(self) -> float | None:
        """Issue slots for 100 cycles of the tensor cores, of the main loop that has most."""
        return max((loop.issue_per_100 for loop in main_loops(self.compiled.graph)), default=None)

    @property
    def lane_loops(self) -> list[str]:
        """Bulk copies that stand in a loop over lanes, because ptxas does not know that one thread asks for them."""
        graph = self.compiled.graph
        codes = [list(graph.instructions(loop.blocks)) for loop in graph.loops]
        over_lanes = [c for c in codes if any(i.name == "BRA" and {"U", "ANY"} <= i.modifiers for i in c)]
        return sorted({i.name for c in over_lanes for i in c if i.name in _BULK})

    def has(self, claim: str) -> bool:
        """`HGMMA.BF16`: some instruction HGMMA has the modifier BF16. `LDG=128`: there are LDG, all with 128.
        `issue<=45`: slots for 100 tensor cycles of each main loop. `loads>=64`: bytes under way of a thread.
        `descriptor=0x40000040`: the high words of its products' descriptors, with commas; `computed` for others."""
        if claim.startswith("issue<="):
            return self.issue_per_100 is not None and self.issue_per_100 <= float(claim[7:])
        if claim.startswith("loads>="):
            return self.outstanding >= int(claim[7:])
        if claim.startswith("descriptor="):
            expected = {None if word == "computed" else int(word, 16) for word in claim[11:].split(",")}
            return high_words(self.compiled.code) == expected
        name, *modifiers = re.split(r"[.=]", claim)
        named = [set(code.split(".")[1:]) for code in self.opcodes if code.split(".")[0] == name]
        enough = all if "=" in claim else any
        return bool(named) and enough(set(modifiers) <= found for found in named)


@dataclass(frozen=True)
class Cost:
    """What the compilation of one instance took."""

    seconds: float
    megabytes: int


def read_cost(log: str) -> Cost:
    found = _COST.search(log)
    if found is None:
        raise ValueError("the compiler's log does not end with what it cost; build again")
    return Cost(float(found[1]), int(found[2]))


def read(op: str, instance: str, stem: str, folder: Path, cuobjdump: Path) -> list[Kernel]:
    """The kernels of the object `stem` of an instance, by name."""
    log = (folder / f"{stem}.ptxas").read_text()
    return of_log(op, instance, log, compiled.read(cuobjdump, folder / f"{stem}.o"))


def of_log(op: str, instance: str, log: str, kernels: list[CompiledKernel]) -> list[Kernel]:
    return sorted(_kernels(op, instance, log, kernels), key=lambda k: k.name)


def _kernels(op: str, instance: str, log: str, kernels: list[CompiledKernel]) -> Iterator[Kernel]:
    of_symbol = {kernel.symbol: kernel for kernel in kernels}
    for found in _PTXAS.finditer(log):
        symbol, rest = found["symbol"], found["rest"]
        if symbol not in of_symbol:
            continue  # a device function of its own is not a kernel
        serialized = re.search(_SERIALIZED.format(re.escape(symbol)), log)
        yield Kernel(
            op=op,
            instance=instance,
            name=of_symbol[symbol].short,
            registers=int(found["registers"]),
            shared=_number(r"(\d+) bytes smem", rest),
            barriers=_number(r"used (\d+) barriers", rest),
            threads=of_symbol[symbol].threads,
            stack=int(found["stack"]),
            spills=int(found["stores"]) + int(found["loads"]),
            serialized=(serialized[1] or "no number") if serialized else "",
            compiled=of_symbol[symbol],
        )


def _number(pattern: str, text: str) -> int:
    found = re.search(pattern, text)
    return int(found[1]) if found else 0


def claims(source: str) -> list[tuple[str, list[str]]]:
    """Lines `// sass KERNEL: CLAIM...` of a sm90.cu: in each instance some kernel of that name meets every CLAIM."""
    return [(kernel, codes.split()) for kernel, codes in re.findall(r"^// sass ([\w*<>, ]+): (.+)$", source, re.M)]


_LIMITS = ("issue<=", "descriptor=")


def _names(pattern: str, kernel: Kernel) -> bool:
    return fnmatchcase(kernel.name, pattern) or kernel.name.split("<")[0] == pattern


def _has_products(kernel: Kernel) -> bool:
    return bool(high_words(kernel.compiled.code))


def _found(kernel: Kernel) -> str:
    words = sorted("computed" if w is None else f"{w:#x}" for w in high_words(kernel.compiled.code))
    issue = "no main loop" if kernel.issue_per_100 is None else f"issue {kernel.issue_per_100:.1f}"
    return f"{issue}, descriptor {','.join(words)}"


def broken_claims(source: str, kernels: list[Kernel]) -> list[str]:
    broken = []
    for pattern, codes in claims(source):
        named = [k for k in kernels if _names(pattern, k)]
        if not named:
            broken.append(f"there is no kernel {pattern}")
        elif not any(all(k.has(code) for code in codes) for k in named):
            broken.append(f"no {pattern} meets {' '.join(codes)}")
    return broken


def unlimited(source: str, kernels: list[Kernel]) -> list[str]:
    """Kernels with products whose main loop or descriptors no claim limits, or whose own do not meet the claim: a loop
    that issues more than the one that was looked at is not found by instances that issue less."""
    missing = []
    for kernel in kernels:
        limits = [c for p, codes in claims(source) if _names(p, kernel) for c in codes if c.startswith(_LIMITS)]
        needed = {"descriptor=": _has_products(kernel), "issue<=": kernel.issue_per_100 is not None}
        absent = [limit for limit in _LIMITS if needed[limit] and not any(c.startswith(limit) for c in limits)]
        missing += [f"{kernel.name} needs a claim {limit}: {_found(kernel)}" for limit in absent]
        missing += [f"{kernel.name} does not meet {c}: {_found(kernel)}" for c in limits if not kernel.has(c)]
    return missing


def faults(kernel: Kernel) -> list[str]:
    """What no kernel may have."""
    found = []
    if kernel.spills:
        found.append(f"{kernel.spills} bytes of spills")
    if kernel.stack:
        found.append(f"{kernel.stack} bytes of stack")
    if kernel.local_memory:
        found.append(f"local memory ({', '.join(kernel.local_memory)})")
    if kernel.serialized:
        found.append(f"wgmma instructions are serialized ({kernel.serialized})")
    if kernel.lane_loops:
        found.append(f"a loop over lanes around {', '.join(kernel.lane_loops)}: let elect_one() pick the thread")
    return found
