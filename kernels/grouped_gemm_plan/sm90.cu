// grouped_gemm_plan on sm_90a: one launch of one block, see common/device/group_planner.h.
#include "grouped_gemm_plan.gen.h"

#include "common/device/group_planner.h"

namespace opswap::OPSWAP_PASS {

OPSWAP_SM90(grouped_gemm_plan) {
  const int card = product_card(a.card, sms_of(exec));
  const int64_t sms = a.card ? kProductCards[card].sms : sms_of(exec), groups = a.masked_m ? a.E : a.F - 1;
  const GroupShape of{bool(a.masked_m), int32_t(groups),          int32_t(a.rows),   int32_t(a.n),
                      int32_t(a.k),     int32_t(a.element_bytes), a.batch_invariant, card,
                      int32_t(sms)};
  return launch_planner(exec, a.plan.as<int32_t>(), (a.masked_m ? a.masked_m : a.expert_first_row).as<const int32_t>(),
                        of);
}

}  // namespace opswap::OPSWAP_PASS
