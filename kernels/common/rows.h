// One row of features on a CPU: where it lies, loops over its lanes, its sum of squares, and its product with a weight.
#pragma once

#include "common/vec.h"

namespace opswap::OPSWAP_ISA {

// First element of row t of a tensor whose last dimension is contiguous.
template <class E>
inline E *row(const Tensor &t, int64_t index) {
  return t.as<E>() + index * t.stride[0];
}

// Rows that make one task big enough to hand to another thread: about 8 thousand elements.
inline int64_t rows_per_task(int64_t row_length) { return 1 + 8192 / (row_length + 1); }

// Calls body(offset) for whole vectors and tail(offset, count) once for what is left.
template <class Body, class Tail>
inline void for_lanes(int64_t n, Body &&body, Tail &&tail) {
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) body(i);
  if (i < n) tail(i, n - i);
}

template <class E>
inline float sum_of_squares(const E *x, int64_t n) {
  vf sums[4] = {};
  int64_t i = 0;
  for (; i + 4 * kLanes <= n; i += 4 * kLanes)
    for (int k = 0; k < 4; ++k) {
      const vf v = load(x + i + k * kLanes);
      sums[k] += v * v;
    }
  for (; i + kLanes <= n; i += kLanes) sums[0] += load(x + i) * load(x + i);
  if (i < n) {
    const vf v = load_tail(x + i, n - i);
    sums[1] += v * v;
  }
  return sum((sums[0] + sums[1]) + (sums[2] + sums[3]));
}

// out = x * scale * weight
template <class O, class E>
inline void scale_by_weight(O *out, const E *x, const E *weight, int64_t n, float scale) {
  for_lanes(
      n, [&](int64_t i) { store(out + i, load(x + i) * scale * load(weight + i)); },
      [&](int64_t i, int64_t left) {
        store_tail(out + i, load_tail(x + i, left) * scale * load_tail(weight + i, left), left);
      });
}

}  // namespace opswap::OPSWAP_ISA
