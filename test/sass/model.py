"""Cycles of tensor cores and of the other pipes, per SM sub-partition: what `npm run sass` compares kernels by.

A sub-partition holds one warp of each warpgroup, and issues one instruction a clock. Products: 4096 bf16 and 8192 FP8
FLOP per clock and SM, which is H100's data sheet at 1830 MHz over 132 SMs. Other pipes: results per clock and SM of the
throughput table of NVIDIA's CUDA programming guide for compute capability 9.0. Shared memory moves 128 bytes a clock
for all four sub-partitions together: 4 bytes of each lane of a warp are one clock of it, and four of the share of a
sub-partition.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from sass.machine_code import Instruction

_PRODUCT = re.compile(r"^([HQI])GMMA\.64x(\d+)x(\d+)\.")
_A_IN_REGISTERS = re.compile(r"^R\d+\S*, R\d+\S*, gdesc")
_ALU = (
    "FMNMX FSETP FSEL ISETP IADD3 LOP3 SHF SEL PRMT LEA IMNMX VIMNMX PLOP3 IABS F2FP LOP VIADD P2R R2P MOV FCHK "
    "FSWZADD HMNMX2 VIADDMNMX I2FP"
)
_FMA = "FFMA FMUL FADD HFMA2 HADD2 HMUL2"
#: Of one instruction of a warp; where the width counts, of 4 bytes a lane.
_PIPES = {
    **dict.fromkeys(_FMA.split(), ("fma", 1)),
    **dict.fromkeys(_ALU.split(), ("alu", 2)),
    **dict.fromkeys(("MUFU", "F2F", "F2I", "I2F", "POPC", "FLO"), ("mufu", 8)),
    **dict.fromkeys(("SHFL", "REDUX", "VOTE", "LDS", "STS", "LDSM", "STSM"), ("shared", 4)),
    "IMAD": ("fma", 2),
}


@dataclass(frozen=True)
class Product:
    """m64nNk(32 bytes)."""

    shape: str
    columns: int
    a_in_registers: bool

    @property
    def ideal(self) -> int:
        return self.columns // 2

    @property
    def first_bytes(self) -> int:
        """Of A, where it lies in shared memory: 64 rows of 32 bytes."""
        return 0 if self.a_in_registers else 64 * 32

    @property
    def shared_memory(self) -> int:
        """Clocks of it, 128 bytes each: A where it lies there, and 32 bytes a column of B."""
        return self.first_bytes // 128 + self.columns // 4

    @property
    def cycles(self) -> int:
        return self.cycles_on(1)

    def cycles_on(self, tensor_clocks: int) -> int:
        """Of a card whose tensor cores take so many clocks for one of an H100's."""
        ideal = self.ideal * tensor_clocks
        return ideal if self.a_in_registers else max(ideal, self.shared_memory)


def product(i: Instruction) -> Product | None:
    found = _PRODUCT.match(i.code)
    if found is None:
        return None
    in_registers = bool(_A_IN_REGISTERS.match(i.operands))
    shape = f"{found[1]}GMMA.64x{found[2]}x{found[3]}.{'RS' if in_registers else 'SS'}"
    return Product(shape, int(found[2]), in_registers)


def pipe(i: Instruction) -> tuple[str, int] | None:
    """The pipe beside the tensor cores that an instruction takes, and its cycles."""
    found = _PIPES.get(i.name)
    if i.name in ("LDS", "STS"):
        return "shared", max(4, i.bytes)
    if i.name in ("LDSM", "STSM"):
        return "shared", 4 * next((n for n in (4, 2) if str(n) in i.modifiers), 1)
    return found
