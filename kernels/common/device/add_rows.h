// residual += input, rounded to its type: the first half of the fused residual norms.
#pragma once

#include "common/device/rows.h"

namespace opswap::OPSWAP_PASS {

// Returns what registers keep of the sum, the row's last piece; the rest is read back from the residual by the thread
// that wrote it.
template <class P, class T>
OPSWAP_DEVICE typename P::Held add_row(const P &part, T *residual, const T *input) {
  const auto sum = [&](int h) {
    return later(Two<T, P::N>{part.load(input, h), part.load(residual, h)}, [&part, residual, h](const auto &of) {
      Vec<T, P::N> rounded;
#pragma unroll
      for (int i = 0; i < P::N; ++i) rounded[i] = from_float<T>(to_float(of.first[i]) + to_float(of.second[i]));
      part.store(residual, h, rounded);
      return to_float(rounded);
    });
  };
  typename P::Held x;
  int begin = 0;
#pragma unroll 1
  do part.hold(x, sum, begin);
  while ((begin += part.piece()) < part.length);
  return x;
}

}  // namespace opswap::OPSWAP_PASS
