"""Bugs of setmaxnreg: registers that nobody gives, and changes that not all of a warpgroup make."""

from __future__ import annotations

from bug import Bug

GEMM = "kernels/gemm.h"
REGISTER_BUGS = (
    Bug(
        "producer_keeps_its_registers",
        "gemm",
        GEMM,
        "    registers_shrink<40>();\n",
        "",
        "setmaxnreg.inc to 232 registers, 0 of the block's 64512 are free",
        "registers_grow<232>",
    ),
    Bug(
        "more_registers_than_there_are",
        "gemm",
        GEMM,
        "registers_grow<232>",
        "registers_grow<240>",
        "setmaxnreg.inc to 240 registers",
        "registers_grow<240>",
    ),
    Bug(
        "one_warp_keeps_its_registers",
        "gemm",
        GEMM,
        "  registers_grow<232>();\n",
        "  if (threadIdx.x % kWarpgroup >= 32) registers_grow<232>();\n",
        "a setmaxnreg that not all warps of the warpgroup had executed",
        "registers_grow<232>",
    ),
    Bug(
        "one_thread_gives_registers",
        "gemm",
        GEMM,
        "elect_one()) gemm_load(",
        "elect_one()) registers_shrink<24>(), gemm_load(",
        "setmaxnreg",
        "registers_shrink<24>",
    ),
)
