// Plans of attention (common/device/attention_plan.h) as a host makes them, for test/roofline/attention.py.
#include "common/device/attention_plan.h"

using namespace opswap;

// Writes attention_plan_words(sequences) words for sequences of so many units, which `whole` leaves uncut; returns the
// fullest bin's cost.
extern "C" int64_t opswap_attention_plan(int32_t bins, int32_t sequences, int32_t whole, const int32_t *units,
                                         int32_t *words) {
  const auto of = [&](int32_t i) { return units[i]; };
  const int64_t payload = attention::least_payload(bins, sequences, whole, of);
  AttentionPlanOf what{};
  what.batch_invariant = whole;
  attention::write_plan(what, bins, payload, sequences, of, [&](int64_t at, int32_t word) { words[at] = word; });
  return payload;
}
