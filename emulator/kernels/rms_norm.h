// RMSNorm of rows, a block for each.
#pragma once

#include "common/device/reduce.h"
#include "common/device/vec.h"
#include "common/sm90/pdl.h"

namespace opswap {

struct RmsNormPartial {
  float of_warp[device::kWarp];
};

template <class T, int Threads>
__global__ void __launch_bounds__(Threads)
    rms_norm_example(T *out, const T *x, const T *weight, int columns, float epsilon) {
  constexpr int kVec = kVecOf<T>;
  OPSWAP_SHARED(RmsNormPartial, partial);
  const T *row = x + size_t{blockIdx.x} * columns;
  sm90::dependency_wait();
  float squares = 0;
  for (int i = threadIdx.x * kVec; i < columns; i += Threads * kVec) {
    const auto v = to_float(load<kVec>(row + i));
    for (int k = 0; k < kVec; ++k) squares += v[k] * v[k];
  }
  const float scale = rsqrtf(block_reduce(squares, Sum{}, partial.of_warp) / float(columns) + epsilon);
  sm90::dependency_trigger();
  for (int i = threadIdx.x * kVec; i < columns; i += Threads * kVec) {
    auto v = to_float(load<kVec>(row + i));
    const auto w = to_float(load<kVec>(weight + i));
    for (int k = 0; k < kVec; ++k) v[k] *= scale * w[k];
    store(out + size_t{blockIdx.x} * columns + i, from_float<T>(v));
  }
}

}  // namespace opswap
