// A small kernel around each barrier, the registers of warpgroups, clusters and programmatic launch.
#pragma once

#include "common/sm90/barrier.h"
#include "common/sm90/cluster.h"
#include "common/sm90/elect.h"
#include "common/sm90/mbarrier.h"
#include "common/sm90/pdl.h"
#include "common/sm90/wgmma.h"

namespace opswap::sm90 {

// out[i] is what thread 63 - i left, in each of 4 rounds: 32 threads produce, 32 consume, by two barriers in turn.
__global__ void wrap_mbarrier(int *out) {
  struct Shared {
    int value[32];
    Mbarrier filled, emptied;
  };
  OPSWAP_SHARED(Shared, s);
  if (threadIdx.x == 0) {
    mbarrier_init(s.filled, 33);  // and one that only says how many bytes come: none
    mbarrier_init(s.emptied, 32);
    fence_mbarrier_init();
  }
  __syncthreads();
  for (int round = 0; round < 4; ++round) {
    if (threadIdx.x < 32) {
      mbarrier_wait(s.emptied, (round & 1) ^ 1);
      s.value[threadIdx.x] = round * 100 + int(threadIdx.x);
      if (threadIdx.x == 0) {
        mbarrier_expect(s.filled, 0);
        mbarrier_arrive_expect(s.filled, 0);
      }
      mbarrier_arrive(s.filled);
    } else {
      if (!mbarrier_test(s.filled, round & 1)) mbarrier_wait(s.filled, round & 1);
      out[round * 32 + threadIdx.x - 32] = s.value[63 - threadIdx.x];
      mbarrier_arrive(s.emptied);
    }
  }
  __syncthreads();
  if (threadIdx.x == 0) {
    mbarrier_inval(s.filled);
    mbarrier_inval(s.emptied);
    mbarrier_init(s.filled, 1);
  }
}

// A warpgroup produces and another consumes, by a named barrier each way; they change registers first.
__global__ void __launch_bounds__(256, 1) wrap_named_barriers(int *out) {
  OPSWAP_SHARED(int[128], value);
  const int i = int(threadIdx.x) % 128;
  if (threadIdx.x < 128) {
    registers_shrink<40>();
    for (int round = 0; round < 3; ++round) {
      if (round) barrier_sync(2, 256);
      value[i] = round * 1000 + i;
      barrier_arrive(1, 256);
    }
  } else {
    registers_grow<232>();
    for (int round = 0; round < 3; ++round) {
      barrier_sync(1, 256);
      out[round * 128 + i] = value[127 - i];
      if (round < 2) barrier_arrive(2, 256);
    }
  }
}

__global__ void wrap_pdl(int *out, const int *in) {
  dependency_wait();
  const int value = in[threadIdx.x];
  dependency_trigger();
  out[threadIdx.x] = value + 1;
}

struct Ids {
  uint32_t rank, blocks;
  uint3 in_cluster, cluster;
};

// What each block of the cluster leaves with the next one, by stores, by a copy and by arrivals.
__global__ void wrap_cluster(Ids *ids, int *out) {
  struct Shared {
    alignas(16) int stored[32], copied[32], source[32];
    Mbarrier arrived, full;
  };
  OPSWAP_SHARED(Shared, s);
  const int lane = int(threadIdx.x), block = int(blockIdx.x + gridDim.x * (blockIdx.y + gridDim.y * blockIdx.z));
  const uint32_t next = (cluster_rank() + 1) % cluster_blocks();
  if (lane == 0) {
    ids[block] = {cluster_rank(), cluster_blocks(), block_in_cluster(), cluster_in_grid()};
    mbarrier_init(s.arrived, 33);
    mbarrier_init(s.full, 1);
    fence_mbarrier_init();
  }
  s.source[lane] = block * 32 + lane;
  fence_async_proxy();
  cluster_arrive();
  cluster_wait();
  if (lane % 4 == 0)
    cluster_store(map_shared(reinterpret_cast<int4 *>(s.stored), next) + lane / 4, make_int4(block, lane, 0, 0));
  mbarrier_arrive(map_shared(&s.arrived, next));
  if (elect_one()) {
    mbarrier_arrive_read(map_shared(&s.arrived, next));
    mbarrier_arrive_expect(map_shared(&s.full, next), sizeof s.copied);
    cluster_copy(map_shared(s.copied, next), s.source, sizeof s.copied, map_shared(&s.full, next));
  }
  if (!mbarrier_test_cluster(s.arrived, 0)) mbarrier_wait_cluster(s.arrived, 0);
  mbarrier_wait_cluster(s.full, 0);
  out[block * 128 + lane] = s.stored[lane];
  out[block * 128 + 32 + lane] = s.copied[lane];
  const int2 pair = cluster_load(map_shared(reinterpret_cast<const int2 *>(s.source), next) + lane / 2);
  out[block * 128 + 64 + lane] = lane % 2 ? pair.y : pair.x;
  cluster_sync();
  out[block * 128 + 96 + lane] = s.source[lane];
}

}  // namespace opswap::sm90
