// Reductions over a warp and over a block: every thread gets the result.
#pragma once

#include "common/device/vec.h"

namespace opswap {

struct Sum {
  static constexpr float kNeutral = 0.0f;
  OPSWAP_DEVICE float operator()(float a, float b) const { return a + b; }
};
// A NaN wins, so that it is not lost on the way to a scale.
struct Max {
  static constexpr float kNeutral = -3.402823466e38f;
  OPSWAP_DEVICE float operator()(float a, float b) const { return a > b || a != a ? a : b; }
};

// Over `Lanes` neighbouring lanes, a power of two; all lanes of the warp call it.
template <int Lanes = 32, class Fold>
OPSWAP_DEVICE float warp_reduce(float x, Fold fold) {
#pragma unroll
  for (int distance = Lanes / 2; distance > 0; distance /= 2)
    x = fold(x, __shfl_xor_sync(device::kAllLanes, x, distance));
  return x;
}

// The same where only the launch knows how many lanes.
template <class Fold>
OPSWAP_DEVICE float warp_reduce(float x, Fold fold, int lanes) {
#pragma unroll
  for (int distance = device::kWarp / 2; distance > 0; distance /= 2) {
    const float other = __shfl_xor_sync(device::kAllLanes, x, distance);
    if (distance < lanes) x = fold(x, other);
  }
  return x;
}

// Over the block, whole warps. `partial` is shared memory for 32 floats: one barrier is enough, so the
// next call takes other memory, unless a barrier of the block lies between.
template <class Fold>
OPSWAP_DEVICE float block_reduce(float x, Fold fold, float *partial) {
  const int thread = int(threadIdx.y * blockDim.x + threadIdx.x), warps = int(blockDim.x * blockDim.y) / device::kWarp;
  const int warp = thread / device::kWarp, lane = thread % device::kWarp;
  x = warp_reduce(x, fold);
  if (lane == 0) store_shared(partial + warp, Vec<float, 1>{{x}});
  __syncthreads();
  return warp_reduce(lane < warps ? load_shared<1>(partial + lane)[0] : Fold::kNeutral, fold);
}

}  // namespace opswap
