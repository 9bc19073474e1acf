"""Registers, memory and instructions of the compiled CUDA kernels, read from their object files and ptxas logs."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

_FUNCTION = re.compile(r"^\s*Function : (\S+)", re.M)
_INSTRUCTION = re.compile(r"^\s*/\*[0-9a-f]+\*/\s+(?:@!?U?P\w+\s+)?([A-Z][A-Z0-9_.]*)", re.M)
_PTXAS = re.compile(
    r"Function properties for (?P<symbol>\S+)\s+(?P<stack>\d+) bytes stack frame, (?P<stores>\d+) bytes spill stores, "
    r"(?P<loads>\d+) bytes spill loads\s+ptxas info\s+: Used (?P<registers>\d+) registers(?P<rest>[^\n]*)"
)
_THREADS = re.compile(r"^\.nv\.info\.(\S+)|EIATTR_MAX_THREADS\s+Format:\s*\S+\s+Value:\s*([0-9a-fx ]+)", re.M)
_COST = re.compile(r"^cost: ([\d.]+) s of CPU, (\d+) MB$", re.M)
_LOCAL = ("LDL", "STL")
MAX_THREADS = 1024


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
    serialized: bool  # ptxas had to put waits between wgmma instructions
    opcodes: frozenset[str]

    @property
    def local_memory(self) -> list[str]:
        return sorted(code for code in self.opcodes if code.split(".")[0] in _LOCAL)

    def has(self, claim: str) -> bool:
        """`HGMMA.BF16`: some instruction HGMMA has the modifier BF16. `LDG=128`: there are LDG, all with 128."""
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


def _run(*command: str | Path) -> str:
    return subprocess.run([str(c) for c in command], check=True, capture_output=True, text=True).stdout


def _short(symbol: str) -> str:
    """`rms_norm_kernel<8>` out of the mangled name."""
    name = _run("c++filt", symbol).strip()
    name = re.sub(r"^void ", "", name)
    name = re.sub(r"\bopswap::(sm90_\w+::|\(anonymous namespace\)::)*", "", name)
    depth = 0
    for at, letter in enumerate(name):
        depth += {"<": 1, ">": -1}.get(letter, 0)
        if letter == "(" and depth == 0:
            return name[:at]
    return name


def _opcodes(sass: str) -> dict[str, frozenset[str]]:
    parts = _FUNCTION.split(sass)
    return {
        symbol: frozenset(_INSTRUCTION.findall(body)) for symbol, body in zip(parts[1::2], parts[2::2], strict=True)
    }


def _launch_bounds(elf: str) -> dict[str, int]:
    bounds: dict[str, int] = {}
    symbol = ""
    for found in _THREADS.finditer(elf):
        if found[1]:
            symbol = found[1]
        else:
            bounds[symbol] = _product(found[2])
    return bounds


def _product(words: str) -> int:
    count = 1
    for word in words.split():
        count *= int(word, 16)
    return min(count, MAX_THREADS)


def read(op: str, instance: str, stem: str, folder: Path, cuobjdump: Path) -> list[Kernel]:
    """The kernels of the object `stem` of an instance, by name."""
    log = (folder / f"{stem}.ptxas").read_text()
    opcodes = _opcodes(_run(cuobjdump, "-sass", folder / f"{stem}.o"))
    bounds = _launch_bounds(_run(cuobjdump, "-elf", folder / f"{stem}.o"))
    return sorted(_kernels(op, instance, log, opcodes, bounds), key=lambda k: k.name)


def _kernels(op: str, instance: str, log: str, opcodes: dict, bounds: dict) -> Iterator[Kernel]:
    for found in _PTXAS.finditer(log):
        symbol, rest = found["symbol"], found["rest"]
        if symbol not in opcodes:
            continue  # a device function of its own is not a kernel
        yield Kernel(
            op=op,
            instance=instance,
            name=_short(symbol),
            registers=int(found["registers"]),
            shared=_number(r"(\d+) bytes smem", rest),
            barriers=_number(r"used (\d+) barriers", rest),
            threads=bounds.get(symbol, MAX_THREADS),
            stack=int(found["stack"]),
            spills=int(found["stores"]) + int(found["loads"]),
            serialized=bool(re.search(rf"wgmma.*serialized.*{re.escape(symbol)}", log)),
            opcodes=opcodes[symbol],
        )


def _number(pattern: str, text: str) -> int:
    found = re.search(pattern, text)
    return int(found[1]) if found else 0


def claims(source: str) -> list[tuple[str, list[str]]]:
    """Lines `// sass KERNEL: CLAIM...` of a sm90.cu: in each instance some kernel of that name meets every CLAIM."""
    return [(kernel, codes.split()) for kernel, codes in re.findall(r"^// sass ([\w*<>, ]+): (.+)$", source, re.M)]


def broken_claims(source: str, kernels: list[Kernel]) -> list[str]:
    broken = []
    for pattern, codes in claims(source):
        named = [k for k in kernels if fnmatchcase(k.name, pattern) or k.name.split("<")[0] == pattern]
        if not named:
            broken.append(f"there is no kernel {pattern}")
        elif not any(all(k.has(code) for code in codes) for k in named):
            broken.append(f"no {pattern} meets {' '.join(codes)}")
    return broken


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
        found.append("wgmma instructions are serialized")
    return found
