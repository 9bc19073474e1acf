// Division of many elements by one scale without a division for each, for e4m3 codes: they are those of a true
// division.
#pragma once

#include "common/device/vec.h"

namespace opswap {

// A scale that many elements are divided by. With its rounded inverse the product's remainder mends the product to a
// quotient of the same code, where no step leaves the normal range; emulator/tests/divisor_test.cpp has the proof.
// Elsewhere it is a division.
class Divisor {
 public:
  OPSWAP_DEVICE explicit Divisor(float scale) : scale_(scale) {
    inverse_ = __fdiv_rn(1.0f, scale);  // not above: nvcc gives initialisers to the host's compiler as well
    usual_ = scale > 0x1p-60f && scale < 0x1p60f;
  }

  // x / scale of elements that are at most 448 times the scale, unless the scale was given.
  template <int N>
  OPSWAP_DEVICE Vec<float, N> quotients(const Vec<float, N> &x, bool given) const {
    Vec<float, N> q;
    if (usual_ && !given) {
#pragma unroll
      for (int i = 0; i < N; ++i) {
        const float product = x[i] * inverse_;
        q[i] = fmaf(-fmaf(product, scale_, -x[i]), inverse_, product);  // so that -0 stays -0
      }
    } else {
#pragma unroll
      for (int i = 0; i < N; ++i) q[i] = __fdiv_rn(x[i], scale_);
    }
    return q;
  }

 private:
  float scale_, inverse_;
  bool usual_;
};

}  // namespace opswap
