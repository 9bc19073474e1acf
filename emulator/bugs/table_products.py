"""Bugs of products that run while others do: fences, registers, tiles off their swizzle; `overlap` is clean."""

from __future__ import annotations

from bug import Bug

OVERLAP = "kernels/overlap.h"
FENCE = "  wgmma_fence();\n"

PRODUCT_BUGS = (
    Bug(
        "no_fence_beside_another_group",
        "overlap",
        OVERLAP,
        FENCE,
        "  if (k == 0) wgmma_fence();\n",
        "no wgmma_fence() for the accumulators",
        "wgmma<64",
    ),
    # These accumulators had a fence when they were new, and have been read since.
    Bug(
        "no_fence_before_accumulators_again",
        "overlap",
        OVERLAP,
        FENCE,
        "  if (k < 2) wgmma_fence();\n",
        "no wgmma_fence() for the accumulators",
        "wgmma<64",
    ),
    Bug(
        "a_registers_not_in_turn",
        "overlap",
        OVERLAP,
        "held[(k + 1) % 2], k + 1)",
        "held[0], k + 1)",
        "A registers of the product at overlap.h",
        "wgmma_wait<1>",
    ),
    Bug(
        "a_registers_changed_in_flight",
        "overlap",
        OVERLAP,
        "  wgmma_commit();\n",
        "  wgmma_commit();\n  a[3][0] = 0;\n",
        "A registers of the product at overlap.h",
        "wgmma_wait<1>",
    ),
    Bug(
        "tile_off_its_swizzle",
        "overlap",
        OVERLAP,
        "  alignas(1024) unsigned char b[",
        "  unsigned char before[128];\n  alignas(128) unsigned char b[",
        "128 behind a multiple of 1024",
        "wgmma<64",
    ),
)
