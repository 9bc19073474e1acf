// residual += input, rounded to its type: the first half of the fused residual norms.
#pragma once

#include "common/device/rows.h"

namespace opswap {

// Returns what registers keep of the sum; the rest is read back from the residual by the thread that wrote it.
template <class P, class T>
OPSWAP_DEVICE auto add_row(const P &part, T *residual, const T *input) {
  const auto add = [&](int h) {
    const Vec<T, P::N> a = part.load(input, h), b = part.load(residual, h);
    Vec<T, P::N> sum;
#pragma unroll
    for (int i = 0; i < P::N; ++i) sum[i] = from_float<T>(to_float(a[i]) + to_float(b[i]));
    part.store(residual, h, sum);
    return sum;
  };
  const auto x = part.hold(add);
  for (int h = part.first + P::kHeld * part.step; h < part.length; h += part.step) add(h);
  return x;
}

}  // namespace opswap
