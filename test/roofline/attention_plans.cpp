// Plans of attention (common/device/attention_plan.h) as a host makes them, for test/roofline/attention.py.
#include "common/device/attention_plan.h"

#include <cstddef>
#include <vector>

#include "cache.h"

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

// Of the partial rows that such a plan leaves, each of so many bytes, those that are read from memory where they are
// put together: all bins go at one pace, a unit of so many bytes at a time, and L2 keeps what was used last.
extern "C" int64_t opswap_attention_rows_missed(int32_t bins, const int32_t *units, const int32_t *words,
                                                int64_t unit_bytes, int64_t row_bytes, int64_t l2_bytes) {
  const auto place = [&](int32_t bin) {
    const int32_t *at = words + kAttentionPlanHeader + kAttentionPlanPlace * bin;
    return attention::Place{at[0], at[1], at[2]};
  };
  roofline::Cache l2(l2_bytes);
  std::vector<attention::Place> now;
  for (int32_t bin = 0; bin < bins; ++bin) now.push_back(place(bin));
  const auto row = [&](const attention::Place &of) { return int64_t{1} << 60 | int64_t(of.sequence) << 30 | of.part; };
  int64_t unit = 0, missed = 0;
  std::vector<int64_t> rows;
  for (int64_t before = -1; before < unit;) {
    before = unit;
    for (int32_t bin = 0; bin < bins; ++bin) {
      attention::Place &at = now[std::size_t(bin)];
      const attention::Place end = place(bin + 1);
      while (at.sequence < end.sequence && !units[at.sequence]) at = {at.sequence + 1, 0, 0};
      if (at.sequence == end.sequence && at.unit == end.unit) continue;
      l2.holds(unit++, unit_bytes);
      const bool ends = ++at.unit == units[at.sequence], cut = at.sequence == end.sequence && at.unit == end.unit;
      if (cut || (ends && at.part)) rows.push_back(row(at)), l2.holds(rows.back(), row_bytes);
      if (ends) at = {at.sequence + 1, 0, 0};
    }
  }
  for (const int64_t key : rows) missed += !l2.holds(key, row_bytes);
  return missed;
}
