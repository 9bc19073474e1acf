// residual += input, rounded to its type: the first half of the fused residual norms.
#pragma once

#include "common/rows.h"

namespace opswap::OPSWAP_ISA {

// Returns the sum of squares of the rounded sums, taken while they are in registers.
template <class E>
inline float add_and_square(E *residual, const E *input, int64_t n) {
  vf squares = {};
  for_lanes(
      n,
      [&](int64_t i) {
        store(residual + i, load(input + i) + load(residual + i));
        const vf v = load(residual + i);
        squares += v * v;
      },
      [&](int64_t i, int64_t left) {
        store_tail(residual + i, load_tail(input + i, left) + load_tail(residual + i, left), left);
        const vf v = load_tail(residual + i, left);
        squares += v * v;
      });
  return sum(squares);
}

// One element at a time, without the squares.
template <class E>
inline void add_plain(E *residual, const E *input, int64_t n) {
  for (int64_t i = 0; i < n; ++i) residual[i] = from_float<E>(to_float(input[i]) + to_float(residual[i]));
}

}  // namespace opswap::OPSWAP_ISA
