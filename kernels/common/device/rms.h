// What a RMS norm multiplies a row by, also where the squares leave the range of float32.
#pragma once

#include "common/device/reduce.h"

namespace opswap {

// Two factors, one behind the other: `range` is a power of two, 1 but for rows that are large or tiny, and the product
// of the two may leave the range of float32 itself.
struct RowScale {
  float range, inverse_rms;
  OPSWAP_DEVICE float operator()(float x) const { return x * range * inverse_rms; }
};

// Where a mean square lies in these bounds, no square that counts was lost to infinity or to rounding near zero.
constexpr float kLeastMeanSquare = 0x1p-100f;
constexpr float kMostMeanSquare = 3.402823466e38f;
constexpr float kRaise = 0x1p100f, kLower = 0x1p-100f;

// The power of two that brings the squares of a row into range; 1 where they are.
OPSWAP_DEVICE float range_of(float mean_square) {
  if (mean_square >= kLeastMeanSquare && mean_square <= kMostMeanSquare) return 1;
  return mean_square < kLeastMeanSquare ? kRaise : kLower;
}

template <int N>
OPSWAP_DEVICE float sum_of_squares(const Vec<float, N> &x, float factor) {
  float sum = 0;
#pragma unroll
  for (int i = 0; i < N; ++i) sum += (x[i] * factor) * (x[i] * factor);
  return sum;
}

template <int N>
OPSWAP_DEVICE Vec<float, N> scaled(const Vec<float, N> &x, const RowScale &scale, const Vec<float, N> &weight) {
  Vec<float, N> out;
#pragma unroll
  for (int i = 0; i < N; ++i) out[i] = scale(x[i]) * weight[i];
  return out;
}

// 1 / sqrt(mean(x^2) + epsilon) of a row. squares(factor) is the same in all threads: the sum over the row of
// (x * factor)^2, which is asked for a second time, with another factor, where it leaves its range; in all threads that
// sum together when again(this row's leaves it) says so.
struct Alone {
  OPSWAP_DEVICE bool operator()(bool asks) const { return asks; }
};
template <class Squares, class Again = Alone>
OPSWAP_DEVICE RowScale inverse_rms(int64_t length, float epsilon, Squares &&squares, Again &&again = {}) {
  float range = 1;
#pragma unroll 1
  for (;;) {  // not twice in the code, which would take registers from every row
    const float mean_square = squares(range) / float(length) + epsilon * range * range;
    const float next = range == 1 ? range_of(mean_square) : range;
    if (!again(next != range)) return {range, rsqrtf(mean_square)};
    range = next;
  }
}

}  // namespace opswap
