"""Bugs seeded into rooms' matrix products as they are shipped."""

from __future__ import annotations

from bug import Bug

KERNEL, OUT, PLAN, RING, SCALES, SUMS = (
    f"common/device/product_{part}.h" for part in ("kernel", "out", "plan", "ring", "scales", "sums")
)
PRODUCT_ROOM_BUGS = (
    Bug(
        "product_stage_given_back_too_early",
        "room_linear",
        SUMS,
        "      sm90::wgmma_wait<1>();\n      give_back(before);",
        "      give_back(before);",
        "data race",
        "sm90::tma_load(",
        "tsan",
        line_in=RING,
    ),
    Bug(
        "product_without_a_fence",
        "room_linear",
        SUMS,
        "  sm90::wgmma_fence();\n",
        "",
        "no wgmma_fence()",
        "sm90::wgmma<Memory::kColumns",
    ),
    Bug(
        "product_stage_never_given_back",
        "room_linear",
        SUMS,
        "      give_back(before);\n      before = at.stage;",
        "      before = at.stage;",
        "deadlock",
        "sm90::mbarrier_wait_cluster(s.empty",
        line_in=RING,
    ),
    Bug(
        "product_column_past_the_end_written",
        "room_linear",
        OUT,
        "if (at + i < out.n) store(",
        "if (at + i <= out.n) store(",
        "heap-buffer-overflow",
        "if (at + i <= out.n) store(",
        "asan",
    ),
    Bug(
        "product_parts_read_before_they_are_there",
        "room_linear",
        KERNEL,
        "        sm90::cluster_sync();\n",
        "",
        "data race",
        "sm90::cluster_load(",
        "tsan",
        line_in=OUT,
    ),
    Bug(
        "product_bands_that_overlap",
        "room_linear",
        PLAN,
        "return {first + left % height",
        "return {left % height",
        "wrong result",
        "row",
    ),
    Bug(
        "product_scales_of_the_stage_before",
        "room_gemm_fp8_block128",
        SCALES,
        "load_shared<2 * Boxes>(&s.token[stage]",
        "load_shared<2 * Boxes>(&s.token[stage ? stage - 1 : 0]",
        "wrong result",
        "row",
    ),
    Bug(
        "product_scales_not_waited_for",
        "room_gemm_fp8_block128",
        SCALES,
        "kArrivals = Loads::kArrivals + device::kWarp",
        "kArrivals = Loads::kArrivals",
        "arrivals",
        "sm90::cp_async_arrive(",
    ),
)
PRODUCT_ROOMS = ("room_linear", "room_gemm_fp8_block128")
