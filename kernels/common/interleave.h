// Interleaved values, the layout value_cache_interleaved16 of docs/layouts.md: of each 16 keys of a page those of one
// feature lie side by side, in an order of four groups. Plain integers, for a CPU and for a card.
#pragma once

#include <cstdint>

namespace opswap {

constexpr int kInterleaved = 16;

// The key, of 16, whose code is byte `byte` of word `word` of a feature's 16 bytes: a thread's probabilities of the
// four keys of a word stand side by side in its registers.
constexpr int interleaved_key(int word, int byte) { return word * 2 + byte % 2 + byte / 2 * 8; }

// Where key `slot` of a page is among a feature's bytes.
constexpr int64_t interleaved_place(int64_t slot) {
  const int64_t key = slot % kInterleaved, low = key % 8;
  return slot - key + low / 2 * 4 + low % 2 + key / 8 * 2;
}

}  // namespace opswap
