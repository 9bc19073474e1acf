// Plans of attention (common/device/attention_plan.h) as a host makes them, for test/roofline/attention.py.
#include "common/device/attention_plan.h"

using namespace opswap;

// Writes attention_plan_words(sequences) words for sequences of so many units, which `whole` leaves uncut; returns the
// fullest bin's cost.
extern "C" int64_t opswap_attention_plan(int32_t bins, int32_t sequences, int32_t whole, const int32_t *units,
                                         int32_t *words) {
  const auto of = [&](int32_t i) { return units[i]; };
  attention::Payloads between = attention::payloads(sequences, whole, of);
  while (between.low < between.high) {
    const int64_t middle = (between.low + between.high) / 2;
    if (attention::fits(bins, middle, sequences, whole, of))
      between.high = middle;
    else
      between.low = middle + 1;
  }
  AttentionPlanOf what{};
  what.batch_invariant = whole;
  attention::write_plan(what, bins, between.high, sequences, of, [&](int64_t at, int32_t word) { words[at] = word; });
  return between.high;
}
