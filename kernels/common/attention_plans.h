// Plans of attention on a CPU: made word for word as the kernel makes them, and looked at before they are used.
#pragma once

#include "common/device/attention_plan.h"
#include "common/device/product_card.h"
#include "common/op.h"
#include "common/rows.h"

namespace opswap::OPSWAP_ISA {

// Why the record is not a plan for such a call, or nullptr. A card's number of SMs is the plan's own.
inline const char *plan_refusal(const int32_t *words, int64_t sequences, const AttentionPlanOf &of) {
  AttentionPlanOf made;
  std::memcpy(&made, words + 5, sizeof made);
  if (words[0] != kAttentionPlanVersion) return "is of another version";
  if (words[2] != sequences) return "is of another number of sequences";
  if (made.num_heads != of.num_heads || made.num_kv_heads != of.num_kv_heads) return "is of other heads";
  if (made.q_len != of.q_len) return "is of another q_len";
  if (made.sliding_window != of.sliding_window) return "is of another sliding_window";
  if (made.mixed != of.mixed) return "was made with query_start_loc for one kind of call and is given to the other";
  if (of.batch_invariant && !made.batch_invariant) return "is not batch_invariant";
  if (made.card < 0 || made.card >= kProductCardCount || words[1] < 1 || words[1] > kAttentionMostBins)
    return "is of a card that is not known";
  return nullptr;
}

// The plan of a call, where it is given and can be read.
template <class Args>
inline opswap_status check_plan(const char *op, const Args &a, const AttentionPlanOf &of) {
  if (!a.plan) return OPSWAP_OK;
  if (a.P != attention_plan_words(a.B))
    return fail(OPSWAP_E_PLAN, "%s: the plan has %lld words, needs %lld for %lld sequences", op, (long long)a.P,
                (long long)attention_plan_words(a.B), (long long)a.B);
  if (a.device_type != kDLCPU) return OPSWAP_OK;
  const char *why = plan_refusal(a.plan.template as<const int32_t>(), a.B, of);
  return why ? fail(OPSWAP_E_PLAN, "%s: the plan %s; make another with attention_plan", op, why)
             : opswap_status{OPSWAP_OK};
}

}  // namespace opswap::OPSWAP_ISA
