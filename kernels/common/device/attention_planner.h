// The kernel that makes a plan of attention, and its launch.
#pragma once

#include "common/device/access.h"
#include "common/device/attention_split.h"
#include "common/sm90/room.h"

namespace opswap::OPSWAP_PASS {

__global__ void __launch_bounds__(kAttentionPlanThreads)
    plan_attention_kernel(int32_t *words,                                    // [597 + sequences]
                          const __grid_constant__ AttentionLengths lengths,  // of each sequence
                          const __grid_constant__ AttentionPlanOf of) {
  OPSWAP_SMEM(AttentionPlanning, s);
  plan_attention(words, s.found, lengths, of);
}

static opswap_status launch_attention_planner(const opswap_exec &exec, int32_t *words, const AttentionLengths &lengths,
                                              const AttentionPlanOf &of) {
  const Geometry geometry{
      .grid = {1}, .block = {kAttentionPlanThreads}, .smem = sizeof(AttentionPlanning), .pdl = true};
  return launch(exec, "plan_attention_kernel", plan_attention_kernel, geometry, words, lengths, of);
}

}  // namespace opswap::OPSWAP_PASS
