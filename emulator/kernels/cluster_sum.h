// Sums of rows by clusters: each block leaves the sum of its part in shared memory, and reads those of its peers there.
#pragma once

#include "common/device/reduce.h"
#include "common/sm90/cluster.h"

namespace opswap {

struct ClusterSums {
  float of_warp[2][device::kWarp];
  float of_block;
};

// A cluster has a row; `columns` are those of a block, each of which a thread adds one by one.
__global__ void __launch_bounds__(64) cluster_sum_example(float *out, const float *x, int columns) {
  using namespace sm90;
  OPSWAP_SHARED(ClusterSums, s);
  const float *part = x + int(blockIdx.x) * columns;
  float sum = 0;
  for (int i = int(threadIdx.x); i < columns; i += int(blockDim.x)) sum += load<1>(part + i)[0];
  sum = block_reduce(sum, Sum{}, s.of_warp[0]);
  if (threadIdx.x == 0) s.of_block = sum;
  cluster_sync();  // the peers' sums are there
  const uint32_t rank = threadIdx.x, blocks = cluster_blocks();
  float row = rank < blocks ? cluster_load(map_shared(&s.of_block, rank)) : 0.0f;
  row = block_reduce(row, Sum{}, s.of_warp[1]);
  if (threadIdx.x == 0) store(out + blockIdx.x, Vec<float, 1>{{row}});
  cluster_sync();  // the peers have read this block's sum
}

}  // namespace opswap
