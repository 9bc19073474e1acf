// Which path a call takes and how its outputs are split over threads: worked out once for a shape.
#pragma once

#include "common/op.h"
#include "input.h"

namespace opswap::OPSWAP_ISA {

constexpr int64_t kMostGrain = int64_t{1} << 20;

struct GemmPlan {
  static constexpr uint32_t kVersion = 1;
  uint32_t version = kVersion;
  uint32_t few = 0;   // 1: weights are read once against few rows at a time; 0: the input is packed
  int64_t grain = 1;  // tasks that a thread takes at a time
};

inline GemmPlan gemm_plan(const gemm_fp8_block128_args &a) {
  if (!takes_few(a.M, false, a.batch_invariant)) return {.few = 0, .grain = 1};
  return {.few = 1, .grain = few_grain(a.K)};
}

// Why a plan that came with a call cannot be used, or nullptr.
inline const char *gemm_plan_refusal(const GemmPlan &plan, const gemm_fp8_block128_args &a) {
  if (plan.version != GemmPlan::kVersion) return "is of another version";
  if (plan.few > 1 || (plan.few && !takes_few(a.M, false, a.batch_invariant)))
    return "takes the path for few rows, which this call has not";
  if (!plan.few && a.batch_invariant) return "takes the path for many rows, which is not batch_invariant";
  return plan.grain < 1 || plan.grain > kMostGrain ? "has a grain out of range" : nullptr;
}

}  // namespace opswap::OPSWAP_ISA
