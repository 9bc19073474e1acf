// attention_plan on a CPU: how decoding sequences are cut over the SMs of a card.
#include "attention_plan.gen.h"

#include "common/attention_plans.h"

namespace opswap::OPSWAP_ISA {

static AttentionPlanOf plan_of(const attention_plan_args &a) {
  const int card = product_card(a.card, kProductCards[product_card(0, 0)].sms);
  return {int32_t(a.num_heads),    int32_t(a.num_kv_heads),    int32_t(a.q_len),       int32_t(a.sliding_window), card,
          kProductCards[card].sms, int32_t(a.batch_invariant), bool(a.query_start_loc)};
}

// New tokens of a sequence.
static int64_t tokens_of(const attention_plan_args &a, int64_t b) {
  return a.query_start_loc ? index_at(a.query_start_loc, b + 1) - index_at(a.query_start_loc, b) : a.q_len;
}

OPSWAP_CHECK(attention_plan) {
  if (a.device_type != kDLCPU) return OPSWAP_OK;
  for (int64_t b = 0; b < a.B; ++b) {
    const int64_t length = index_at(a.seq_lens, b), tokens = tokens_of(a, b);
    if (length < 0)
      return fail(OPSWAP_E_VALUE, "attention_plan: seq_lens[%lld] is %lld, needs 0 or more", (long long)b,
                  (long long)length);
    if (tokens < 0)
      return fail(OPSWAP_E_VALUE, "attention_plan: query_start_loc[%lld..%lld] falls, needs to rise", (long long)b,
                  (long long)b + 1);
    if (length && tokens > length)
      return fail(OPSWAP_E_VALUE, "attention_plan: sequence %lld has %lld new tokens, but seq_lens[%lld] is %lld",
                  (long long)b, (long long)tokens, (long long)b, (long long)length);
  }
  return OPSWAP_OK;
}

static opswap_status make_plan(const attention_plan_args &a) {
  const AttentionPlanOf of = plan_of(a);
  const auto units = [&](int64_t b) { return attention::units_of(index_at(a.seq_lens, b), tokens_of(a, b), of); };
  const int32_t bins = attention::bins_of(of.sms, a.num_heads, a.num_kv_heads, a.q_len), sequences = int32_t(a.B);
  const int64_t payload = attention::least_payload(bins, sequences, of.batch_invariant, units);
  int32_t *const words = a.plan.as<int32_t>();
  attention::write_plan(of, bins, payload, sequences, units, [&](int64_t at, int32_t word) { words[at] = word; });
  return OPSWAP_OK;
}

OPSWAP_REF(attention_plan) { return make_plan(a); }

OPSWAP_CPU(attention_plan) { return make_plan(a); }

}  // namespace opswap::OPSWAP_ISA
