// Sums over the threads in front, whole numbers that a block counts places with.
#pragma once

#include "common/device/vec.h"

namespace opswap {

// Sum of x over the threads before number `thread` of a block of `warps` whole warps; `total` is that of all. `sums` is
// shared memory, a word for each warp.
OPSWAP_DEVICE int sum_before(int32_t *sums, int thread, int warps, int x, int &total) {
  const int warp = thread / device::kWarp, lane = thread % device::kWarp;
  int sum = x;
#pragma unroll
  for (int distance = 1; distance < device::kWarp; distance *= 2) {
    const int other = __shfl_up_sync(device::kAllLanes, sum, unsigned(distance));
    sum += lane >= distance ? other : 0;
  }
  __syncthreads();  // the readers of the call before are done
  if (lane == device::kWarp - 1) store_shared(sums + warp, Vec<int32_t, 1>{sum});
  __syncthreads();
  int before = sum - x;
  total = 0;
  for (int w = 0; w < warps; ++w) {
    const int of_warp = load_shared<1>(sums + w)[0];
    before += w < warp ? of_warp : 0;
    total += of_warp;
  }
  return before;
}

}  // namespace opswap
