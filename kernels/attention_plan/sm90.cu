// attention_plan on sm_90a: one launch of one block, see common/device/attention_split.h.
#include "attention_plan.gen.h"

#include "common/device/attention_planner.h"
#include "common/device/product_card.h"

namespace opswap::OPSWAP_PASS {

OPSWAP_SM90(attention_plan) {
  const int card = product_card(a.card, sms_of(exec));
  const int64_t sms = a.card ? kProductCards[card].sms : sms_of(exec);
  const AttentionPlanOf of{
      int32_t(a.num_heads), int32_t(a.num_kv_heads),    int32_t(a.q_len),       int32_t(a.sliding_window), card,
      int32_t(sms),         int32_t(a.batch_invariant), bool(a.query_start_loc)};
  return launch_attention_planner(exec, a.plan.as<int32_t>(),
                                  {vector_of<int32_t>(a.seq_lens), vector_of<int32_t>(a.query_start_loc), int32_t(a.B)},
                                  of);
}

}  // namespace opswap::OPSWAP_PASS
