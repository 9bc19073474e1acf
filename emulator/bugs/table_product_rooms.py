"""Bugs of the parts that product rooms are made of, as they are shipped: ring, arithmetic, scales, plans, ways out."""

from __future__ import annotations

from bug import Bug

KERNEL, OUT, RING, SCALES, SUMS, TASKS, GATHER, GROUPS, GROUP_TASKS = (
    f"common/device/{name}.h"
    for name in (
        "product_kernel",
        "product_out",
        "product_ring",
        "product_scales",
        "product_sums",
        "product_tasks",
        "group_gather",
        "group_kernel",
        "group_tasks",
    )
)
NEXT_STAGE = """      sm90::mbarrier_wait(s.full[at.stage], at.phase);
      multiply_box<Type>(d, 0, operands.at(at.stage), true);
      sm90::wgmma_wait<1>();
      if (k > begin) give_back(before);
"""

PRODUCT_ROOM_BUGS = (
    Bug(
        "product_stage_not_waited_for",
        "room_product",
        SUMS,
        NEXT_STAGE,
        NEXT_STAGE.replace("      sm90::mbarrier_wait(s.full[at.stage], at.phase);\n", ""),
        "data race",
        "sm90::wgmma<Memory::kColumns",
        "tsan",
    ),
    Bug(
        "product_stage_given_back_while_multiplied",
        "room_product",
        SUMS,
        NEXT_STAGE,
        NEXT_STAGE.replace("      sm90::wgmma_wait<1>();\n", "") + "      sm90::wgmma_wait<1>();\n",
        "data race",
        "sm90::wgmma<Memory::kColumns",
        "tsan",
    ),
    Bug(
        "product_box_beyond_the_last_row",
        "room_product",
        KERNEL,
        "{uint64_t(out.shape[1]), uint64_t(out.shape[0])}",
        "{uint64_t(out.shape[1]), device::round_up<uint64_t>(uint64_t(out.shape[0]), 16)}",
        "written outside",
        "row",
    ),
    Bug(
        "product_rows_staged_before_the_box_is_read",
        "room_product",
        OUT,
        "    wait_for_box(out.to);  // the columns before have been read\n",
        "",
        "data race",
        "sm90::tma_store(out.map",
        "tsan",
    ),
    Bug(
        "product_tasks_given_twice",
        "room_product",
        TASKS,
        "int step() const { return plan.clusters; }",
        "int step() const { return 1; }",
        "products: at most",
        "most",
    ),
    Bug(
        "product_turned_tile_beyond_the_last_token",
        "room_product_split",
        OUT,
        "    return token < task.token_end ? token : -1;\n",
        "    return token;\n",
        "written outside",
        "row",
    ),
    Bug(
        "product_part_read_before_it_is_there",
        "room_product_split",
        KERNEL,
        "        share_sums(s, sums, thread);\n        sm90::cluster_sync();\n",
        "        share_sums(s, sums, thread);\n",
        "data race",
        "sm90::cluster_load(sm90::map_shared(sums_of(s)",
        "tsan",
        line_in=OUT,
    ),
    Bug(
        "product_pair_gives_back_to_itself_alone",
        "room_product_pairs",
        RING,
        "pair == 1 ? sm90::cluster_rank() : uint32_t(reader % 2)",
        "sm90::cluster_rank()",
        "data race",
        "sm90::wgmma<Memory::kColumns",
        "tsan",
        line_in=SUMS,
    ),
    Bug(
        "product_pair_brings_the_same_half",
        "room_product_pairs",
        RING,
        "&second, s.full[stage], uint16_t(3), at, across + half)",
        "&second, s.full[stage], uint16_t(3), at, across)",
        "wrong result",
        "row",
    ),
    Bug(
        "product_scale_of_another_block_of_k",
        "room_product_scaled",
        SCALES,
        "scales.weight + (inside ? row + k + lane : 0)",
        "scales.weight + (inside ? row + k : 0)",
        "wrong result",
        "row",
    ),
    Bug(
        "product_scales_read_behind_the_stage",
        "room_product_scaled",
        SUMS,
        "    __syncwarp();  // all lanes have read their factors\n",
        "",
        "data race",
        "sm90::cp_async<4>(&s.token",
        "tsan",
        line_in=SCALES,
    ),
    Bug(
        "product_weights_of_the_next_group",
        "room_product_grouped",
        GROUP_TASKS,
        "g * of.n + column, g, 0, plan.steps",
        "(g + 1) * of.n + column, g, 0, plan.steps",
        "wrong result",
        "row",
    ),
    Bug(
        "product_steps_of_a_cut_tile_given_twice",
        "room_product_grouped",
        GROUP_TASKS,
        "to = share_begin(plan, share + 1);",
        "to = share_begin(plan, share + 1) + 1;",
        "wrong result",
        "row",
    ),
    Bug(
        "product_rows_said_to_have_come_too_early",
        "room_product_grouped",
        GATHER,
        "    sm90::cp_async_wait<Later>();\n",
        "",
        "data race",
        "sm90::wgmma<Memory::kColumns",
        "tsan",
        line_in=SUMS,
    ),
    Bug(
        "product_part_of_the_share_before_left_out",
        "room_product_grouped",
        GROUPS,
        "for (int of = share - 1; of < plan.blocks",
        "for (int of = share; of < plan.blocks",
        "wrong result",
        "row",
    ),
)
