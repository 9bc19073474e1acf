// Work across the lanes of several vectors at once: transposing kLanes vectors, and summing each of them.
#pragma once

#include "common/vec.h"

namespace opswap::OPSWAP_ISA {

// Of each group of 2S lanes: the first S of a, then the first S of b (`lower`), or the last S of both (`upper`).
template <int S, int... L>
inline vf lower(vf a, vf b, std::integer_sequence<int, L...>) {
  return __builtin_shuffle(a, b, vi{(L & S ? kLanes + L - S : L)...});
}
template <int S, int... L>
inline vf upper(vf a, vf b, std::integer_sequence<int, L...>) {
  return __builtin_shuffle(a, b, vi{(L & S ? kLanes + L : L + S)...});
}

// rows[i][j] <-> rows[j][i] for blocks of Span lanes and every Span-th row: log2(kLanes / Span) rounds that swap ever
// smaller off-diagonal blocks.
template <int Span, int S>
inline void transpose_every(vf rows[kLanes]) {
  if constexpr (S >= Span) {
#pragma GCC unroll 16
    for (int i = 0; i < kLanes; i += Span) {
      if (i & S) continue;
      const vf a = rows[i], b = rows[i + S];
      rows[i] = lower<S>(a, b, Lanes{});
      rows[i + S] = upper<S>(a, b, Lanes{});
    }
    transpose_every<Span, S / 2>(rows);
  }
}
inline void transpose(vf rows[kLanes]) { transpose_every<1, kLanes / 2>(rows); }

// rows[i] has lanes g * Span + j. Afterwards lane i of rows[g * Span] is the sum over j of what row i had for g.
template <int Span, int S = Span / 2>
inline void gather_spread(vf rows[kLanes]) {
  if constexpr (S > 0) {
#pragma GCC unroll 16
    for (int i = 0; i < kLanes; ++i)
      if ((i & (Span - 1)) < S)
        rows[i] = lower<S>(rows[i], rows[i + S], Lanes{}) + upper<S>(rows[i], rows[i + S], Lanes{});
    gather_spread<Span, S / 2>(rows);
  } else {
    transpose_every<Span, kLanes / 2>(rows);
  }
}

// Lane i of the result is the sum of the lanes of rows[i]; rows are used up.
inline vf sum_each(vf rows[kLanes]) {
  gather_spread<kLanes>(rows);
  return rows[0];
}

}  // namespace opswap::OPSWAP_ISA
