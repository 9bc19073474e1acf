// Dot products of few rows with many long ones, which are read once from where they lie. The lanes of a vector are
// shared between rows and words: lane g * Span + j holds word j of row g, and Span words of a long row are repeated for
// every g. One multiplication serves kLanes / Span rows at a time, and only Span lanes have to be summed in the end.
#pragma once

#include "common/lanes.h"
#include "common/tile.h"

namespace opswap::OPSWAP_ISA {

// Span words at p, repeated kLanes / Span times.
template <int Span, int... L>
inline vu spread_words(const char *p, std::integer_sequence<int, L...>) {
#if defined(__AVX512F__)
  if constexpr (Span == 8) return (vu)_mm512_broadcast_i64x4(_mm256_loadu_si256(reinterpret_cast<const __m256i *>(p)));
  if constexpr (Span == 4) return (vu)_mm512_broadcast_i32x4(_mm_loadu_si128(reinterpret_cast<const __m128i *>(p)));
#endif
  if constexpr (Span == 2) {
    uint64_t both;
    std::memcpy(&both, p, sizeof both);
    typedef uint64_t vul __attribute__((vector_size(kLanes * 4)));
    return (vu)(vul{} + both);
  }
  vu words = {};
  std::memcpy(&words, p, Span * 4);
  return Span == kLanes ? words : __builtin_shuffle(words, vi{L % Span...});
}

// panel[step][g * Span + j] = word step * Span + j of row g; words past the end and rows from `count` on are 0.
template <int Span>
inline void pack_spread(uint32_t *panel, Rows rows, int64_t count, int64_t words) {
  const int64_t steps = round_up(words, Span) / Span;
  for (int64_t step = 0; step < steps; ++step, panel += kLanes)
    for (int64_t g = 0; g < kLanes / Span; ++g)
      for (int64_t j = 0; j < Span; ++j) {
        const int64_t word = step * Span + j;
        panel[g * Span + j] = 0;
        if (g < count && word < words) std::memcpy(&panel[g * Span + j], rows.data + g * rows.stride + word * 4, 4);
      }
}

// sums[g * Span][i] = row g . longs[i], for kLanes long rows; `words` is a multiple of Span.
template <class Math, int Span>
inline void spread_dots(vf sums[kLanes], const uint32_t *panel, const char *const longs[kLanes], int64_t words) {
  constexpr int kAtOnce = kLanes < 8 ? kLanes : 8;  // pointers fit the general registers, chains hide the latency
  for (int first = 0; first < kLanes; first += kAtOnce) {
    vf acc[kAtOnce] = {};
    for (int64_t word = 0; word < words; word += Span) {
      vu lanes;
      std::memcpy(&lanes, panel + word * (kLanes / Span), sizeof lanes);
#pragma GCC unroll 8
      for (int i = 0; i < kAtOnce; ++i)
        acc[i] = Math::madd(acc[i], lanes, spread_words<Span>(longs[first + i] + word * 4, Lanes{}));
    }
    for (int i = 0; i < kAtOnce; ++i) sums[first + i] = acc[i];
  }
  gather_spread<Span>(sums);
}

}  // namespace opswap::OPSWAP_ISA
