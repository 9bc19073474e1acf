// How sequences of any length are cut for bins of about equal cost, each the work of one block for each head of keys:
// bins take tiles of keys in order, sequence after sequence, and a sequence that two bins share is put together
// afterwards. Plain integers, so that the kernel that makes a plan and a CPU write the same words.
//
// The record: kAttentionPlanHeader words, of which are in use
//   0 version, 1 bins, 2 sequences, 3 the cost of the fullest bin, 4 partial rows of all sequences
// then for each bin, and once more, where it begins: sequence, tile, part of that sequence, 0
// then for each sequence, and once more, the partial rows of those before it: a sequence of one part has none.
#pragma once

#include <cstdint>

namespace opswap {

constexpr int32_t kAttentionPlanVersion = 1;
constexpr int64_t kAttentionPlanHeader = 8, kAttentionPlanPlace = 4;
constexpr int64_t attention_plan_words(int64_t bins, int64_t sequences) {
  return kAttentionPlanHeader + kAttentionPlanPlace * (bins + 1) + sequences + 1;
}
// Each place where two bins meet within a sequence adds a part, and its sequence has one more than such places.
constexpr int64_t attention_partial_rows(int64_t bins) { return 2 * (bins - 1); }

namespace attention {

// A tile of 128 keys, and a part beside its tiles: FlashMLA's planner counts 5 of its blocks of 64 keys for a part.
constexpr int64_t kTileCost = 2, kPartCost = 5;

constexpr int64_t cost_of(int64_t tiles) { return tiles ? tiles * kTileCost + kPartCost : 0; }

// Where a bin begins: `tile` tiles of the sequence are done, in `part` parts.
struct Place {
  int32_t sequence, tile, part;
};

// Where the next bin begins, if one that begins at `at` takes as much as `payload` allows. passed(sequence, parts) is
// called for each sequence that it ends.
template <class Tiles, class Passed>
constexpr Place filled(Place at, int64_t payload, int32_t sequences, Tiles &&tiles, Passed &&passed) {
  while (at.sequence < sequences) {
    const int64_t cost = cost_of(tiles(at.sequence) - at.tile);
    if (cost > payload) {
      const int64_t fit = payload > kPartCost ? (payload - kPartCost) / kTileCost : 0;
      return fit ? Place{at.sequence, int32_t(at.tile + fit), at.part + 1} : at;
    }
    payload -= cost;
    passed(at.sequence, at.part + 1);
    at = {at.sequence + 1, 0, 0};
  }
  return at;
}

// Whether `bins` of `payload` hold all.
template <class Tiles>
constexpr bool fits(int32_t bins, int64_t payload, int32_t sequences, Tiles &&tiles) {
  Place at{0, 0, 0};
  for (int32_t bin = 0; bin < bins && at.sequence < sequences; ++bin)
    at = filled(at, payload, sequences, tiles, [](int32_t, int32_t) {});
  return at.sequence == sequences;
}

// The payloads between which the least one lies: that of a tile, and that of all in one bin.
struct Payloads {
  int64_t low, high;
};
template <class Tiles>
constexpr Payloads payloads(int32_t sequences, Tiles &&tiles) {
  int64_t total = 0;
  for (int32_t i = 0; i < sequences; ++i) total += cost_of(tiles(i));
  const int64_t low = kTileCost + kPartCost;
  return {low, total > low ? total : low};
}

// The record for a payload that fits; put(at, word) for each word.
template <class Tiles, class Put>
constexpr void write_plan(int32_t bins, int64_t payload, int32_t sequences, Tiles &&tiles, Put &&put) {
  const int64_t rows_at = kAttentionPlanHeader + kAttentionPlanPlace * (bins + 1);
  int32_t rows = 0;
  Place at{0, 0, 0};
  for (int32_t bin = 0; bin <= bins; ++bin) {
    const int64_t place = kAttentionPlanHeader + kAttentionPlanPlace * bin;
    put(place, at.sequence), put(place + 1, at.tile), put(place + 2, at.part), put(place + 3, 0);
    if (bin == bins) break;
    at = filled(at, payload, sequences, tiles, [&](int32_t sequence, int32_t parts) {
      put(rows_at + sequence, rows);
      rows += parts > 1 ? parts : 0;
    });
  }
  put(rows_at + sequences, rows);
  const int32_t header[kAttentionPlanHeader] = {kAttentionPlanVersion, bins, sequences, int32_t(payload), rows};
  for (int64_t i = 0; i < kAttentionPlanHeader; ++i) put(i, header[i]);
}

}  // namespace attention
}  // namespace opswap
