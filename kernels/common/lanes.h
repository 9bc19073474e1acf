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

// rows[i][j] <-> rows[j][i]: log2(kLanes) rounds that swap ever smaller off-diagonal blocks.
template <int S = kLanes / 2>
inline void transpose(vf rows[kLanes]) {
  if constexpr (S > 0) {
#pragma GCC unroll 16
    for (int i = 0; i < kLanes; ++i) {
      if (i & S) continue;
      const vf a = rows[i], b = rows[i + S];
      rows[i] = lower<S>(a, b, Lanes{});
      rows[i + S] = upper<S>(a, b, Lanes{});
    }
    transpose<S / 2>(rows);
  }
}

// Lane i of the result is the sum of the lanes of rows[i]; rows are used up.
template <int S = kLanes / 2>
inline vf sum_each(vf rows[kLanes]) {
  if constexpr (S == 0) {
    return rows[0];
  } else {
#pragma GCC unroll 16
    for (int i = 0; i < S; ++i)
      rows[i] = lower<S>(rows[i], rows[i + S], Lanes{}) + upper<S>(rows[i], rows[i + S], Lanes{});
    return sum_each<S / 2>(rows);
  }
}

}  // namespace opswap::OPSWAP_ISA
