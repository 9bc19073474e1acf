// How sequences of any length are cut for bins of about equal cost, each the work of one block for each head of keys:
// bins take units of 64 keys in order, sequence after sequence, and a sequence that two bins share is put together
// afterwards. Plain integers, so that the kernel that makes a plan and a CPU write the same words, which are those of
// kernels/attention_plan/README.md.
#pragma once

#include <cstdint>

namespace opswap {

constexpr int32_t kAttentionPlanVersion = 1;
// Blocks of decoding that an SM has room for: test/static derives it from registers and shared memory of each compiled
// kernel of few rows. A plan knows no head size, so that it is one number for all of them.
constexpr int32_t kAttentionResident = 1;
constexpr int32_t kAttentionMostBins = 144 * kAttentionResident;  // SMs of a whole GH100
constexpr int64_t kAttentionPlanHeader = 16, kAttentionPlanPlace = 4;
constexpr int64_t kAttentionRowsAt = kAttentionPlanHeader + kAttentionPlanPlace * (kAttentionMostBins + 1);
constexpr int64_t attention_plan_words(int64_t sequences) { return kAttentionRowsAt + sequences + 1; }
// Each place where two bins meet within a sequence adds a part, and its sequence has one more than such places.
constexpr int64_t attention_partial_rows(int64_t bins) { return 2 * (bins - 1); }

// An op without the argument has no window.
template <class Args>
constexpr int64_t window_of(const Args &a) {
  if constexpr (requires { a.sliding_window; })
    return a.sliding_window;
  else
    return -1;
}

// What a plan is of: words 5 to 12 of its header.
struct AttentionPlanOf {
  int32_t num_heads, num_kv_heads, q_len, sliding_window, card, sms, batch_invariant, mixed;
};
constexpr int32_t kAttentionPlanOfWords = 8;

namespace attention {

// Keys of a unit, its cost, and what a part costs beside its units: FlashMLA's planner counts 5 blocks of 64 keys.
constexpr int32_t kUnitKeys = 64;
constexpr int64_t kUnitCost = 1, kPartCost = 5;

constexpr int64_t cost_of(int64_t units) { return units ? units * kUnitCost + kPartCost : 0; }

// Rows of queries that a block takes of those that share a head of keys, and how many such tiles there are.
constexpr int32_t tile_rows(int64_t rows) { return rows <= 8 ? 8 : rows <= 16 ? 16 : 32; }
constexpr int64_t row_tiles(int64_t rows) { return (rows + tile_rows(rows) - 1) / tile_rows(rows); }

// As many bins as blocks of decoding fit on `sms` SMs.
constexpr int32_t bins_of(int64_t sms, int64_t num_heads, int64_t num_kv_heads, int64_t q_len) {
  const int64_t each = num_kv_heads ? num_kv_heads * row_tiles(num_heads / num_kv_heads * q_len) : 1;
  const int64_t bins = sms * kAttentionResident / (each ? each : 1);
  return int32_t(bins < 1 ? 1 : bins > kAttentionMostBins ? kAttentionMostBins : bins);
}

// Units of keys that the newest `tokens` tokens of a sequence see; none of one that another kernel takes.
constexpr int64_t units_of(int64_t length, int64_t tokens, const AttentionPlanOf &of) {
  if (tokens < 1 || tokens > of.q_len || tokens > length) return 0;
  const int64_t first = of.sliding_window > 0 ? length - tokens + 1 - of.sliding_window : 0;
  return (length + kUnitKeys - 1) / kUnitKeys - (first > 0 ? first : 0) / kUnitKeys;
}

// Where a bin begins: `unit` units of the sequence are done, in `part` parts.
struct Place {
  int32_t sequence, unit, part;
};

// Where the next bin begins, if one that begins at `at` takes as much as `payload` allows; `whole` sequences are not
// cut. passed(sequence, parts) is called for each sequence that it ends.
template <class Units, class Passed>
constexpr Place filled(Place at, int64_t payload, int32_t sequences, bool whole, Units &&units, Passed &&passed) {
  while (at.sequence < sequences) {
    const int64_t cost = cost_of(units(at.sequence) - at.unit);
    if (cost > payload) {
      const int64_t fit = !whole && payload > kPartCost ? (payload - kPartCost) / kUnitCost : 0;
      return fit ? Place{at.sequence, int32_t(at.unit + fit), at.part + 1} : at;
    }
    payload -= cost;
    passed(at.sequence, at.part + 1);
    at = {at.sequence + 1, 0, 0};
  }
  return at;
}

// Whether `bins` of `payload` hold all.
template <class Units>
constexpr bool fits(int32_t bins, int64_t payload, int32_t sequences, bool whole, Units &&units) {
  Place at{0, 0, 0};
  for (int32_t bin = 0; bin < bins && at.sequence < sequences; ++bin)
    at = filled(at, payload, sequences, whole, units, [](int32_t, int32_t) {});
  return at.sequence == sequences;
}

// The payloads between which the least one lies: that of a unit, or of the longest whole sequence, and that of all in
// one bin.
struct Payloads {
  int64_t low, high;
};
template <class Units>
constexpr Payloads payloads(int32_t sequences, bool whole, Units &&units) {
  int64_t total = 0, low = kUnitCost + kPartCost;
  for (int32_t i = 0; i < sequences; ++i) {
    const int64_t cost = cost_of(units(i));
    total += cost;
    low = whole && cost > low ? cost : low;
  }
  return {low, total > low ? total : low};
}

// The least payload of which `bins` hold all, found by one thread.
template <class Units>
constexpr int64_t least_payload(int32_t bins, int32_t sequences, bool whole, Units &&units) {
  Payloads between = payloads(sequences, whole, units);
  while (between.low < between.high) {
    const int64_t middle = (between.low + between.high) / 2;
    if (fits(bins, middle, sequences, whole, units))
      between.high = middle;
    else
      between.low = middle + 1;
  }
  return between.high;
}

// The record for a payload that fits; put(at, word) for each word.
template <class Units, class Put>
constexpr void write_plan(const AttentionPlanOf &of, int32_t bins, int64_t payload, int32_t sequences, Units &&units,
                          Put &&put) {
  int32_t rows = 0;
  Place at{0, 0, 0};
  for (int32_t bin = 0; bin <= kAttentionMostBins; ++bin) {
    const int64_t place = kAttentionPlanHeader + kAttentionPlanPlace * bin;
    const bool used = bin <= bins;
    put(place, used ? at.sequence : 0), put(place + 1, used ? at.unit : 0);
    put(place + 2, used ? at.part : 0), put(place + 3, 0);
    if (bin >= bins) continue;
    at = filled(at, payload, sequences, of.batch_invariant, units, [&](int32_t sequence, int32_t parts) {
      put(kAttentionRowsAt + sequence, rows);
      rows += parts > 1 ? parts : 0;
    });
  }
  put(kAttentionRowsAt + sequences, rows);
  const int32_t header[kAttentionPlanHeader] = {
      kAttentionPlanVersion, bins,    sequences, int32_t(payload),   rows,    of.num_heads, of.num_kv_heads, of.q_len,
      of.sliding_window,     of.card, of.sms,    of.batch_invariant, of.mixed};
  for (int64_t i = 0; i < kAttentionPlanHeader; ++i) put(i, header[i]);
}

}  // namespace attention
}  // namespace opswap
