// A small kernel around each copy of the copy unit; every wrapper is called in some wrap_*.h, which nvcc compiles too.
#pragma once

#include "common/sm90/cluster.h"
#include "common/sm90/tensor_map_edit.h"
#include "common/sm90/tma.h"
#include "common/sm90/wgmma.h"

namespace opswap::sm90 {

struct CopyTile {
  alignas(1024) unsigned char data[8192];
  alignas(128) TensorMap map;
  Mbarrier full;
};

struct Corner {
  int at[5];
};

// body(coordinates...) with the first `Rank` of them.
template <int Rank, class Body>
OPSWAP_DEVICE void with(const Corner &c, Body body) {
  if constexpr (Rank == 1) body(c.at[0]);
  if constexpr (Rank == 2) body(c.at[0], c.at[1]);
  if constexpr (Rank == 3) body(c.at[0], c.at[1], c.at[2]);
  if constexpr (Rank == 4) body(c.at[0], c.at[1], c.at[2], c.at[3]);
  if constexpr (Rank == 5) body(c.at[0], c.at[1], c.at[2], c.at[3], c.at[4]);
}

OPSWAP_DEVICE void one_barrier(CopyTile &s) {
  if (threadIdx.x == 0) {
    mbarrier_init(s.full, 1);
    fence_mbarrier_init();
  }
  __syncthreads();
}

OPSWAP_DEVICE bool first_warp_elects() { return threadIdx.x < 32 && elect_one(); }

template <int Rank, Evict Order = Evict::normal>
__global__ void wrap_box(const __grid_constant__ TensorMap in, const __grid_constant__ TensorMap out, Corner from,
                         Corner to, uint32_t bytes) {
  OPSWAP_SMEM(CopyTile, s);
  one_barrier(s);
  if (!first_warp_elects()) return;
  tma_prefetch(&in);
  with<Rank>(from, [&](auto... c) { tma_prefetch_l2<Order>(&in, c...); });
  mbarrier_arrive_expect(s.full, bytes);
  with<Rank>(from, [&](auto... c) { tma_load<Order>(s.data, &in, s.full, c...); });
  mbarrier_wait(s.full, 0);
  with<Rank>(to, [&](auto... c) { tma_store<Order>(&out, s.data, c...); });
  tma_commit();
  tma_wait();
}

// Both blocks of a cluster load half of the box for both, and each stores all of it to its own tensor.
template <int Rank, Evict Order = Evict::normal>
__global__ void wrap_multicast(const __grid_constant__ TensorMap half, unsigned char *out, Corner low, Corner high,
                               uint32_t bytes) {
  OPSWAP_SMEM(CopyTile, s);
  one_barrier(s);
  cluster_sync();
  if (first_warp_elects()) {
    const uint32_t rank = cluster_rank();
    mbarrier_arrive_expect(s.full, 2 * bytes);
    with<Rank>(rank ? high : low,
               [&](auto... c) { tma_load_multicast<Order>(s.data + rank * 1024, &half, s.full, uint16_t(3), c...); });
    mbarrier_wait(s.full, 0);
    for (int i = 0; i < 2; ++i) bulk_store(out + (2 * rank + i) * bytes, s.data + i * 1024, bytes);
    tma_commit();
    tma_wait_read<0>();
  }
  cluster_sync();
}

// The tile is read twice into the tensor, in two groups.
template <int Rank, BulkReduce Op, Evict Order = Evict::normal>
__global__ void wrap_reduce(const __grid_constant__ TensorMap map, const unsigned char *tile, uint32_t bytes,
                            Corner to) {
  OPSWAP_SMEM(CopyTile, s);
  one_barrier(s);
  if (!first_warp_elects()) return;
  mbarrier_arrive_expect(s.full, bytes);
  bulk_load(s.data, tile, bytes, s.full);
  mbarrier_wait(s.full, 0);
  for (int i = 0; i < 2; ++i) {
    with<Rank>(to, [&](auto... c) { tma_reduce<Op, Order>(&map, s.data, c...); });
    tma_commit();
    tma_wait<1>();
  }
  tma_wait_read();
  tma_wait();
}

template <Evict Order = Evict::normal>
__global__ void wrap_bulk(unsigned char *out, const unsigned char *in, uint32_t bytes) {
  OPSWAP_SMEM(CopyTile, s);
  one_barrier(s);
  cluster_sync();
  if (first_warp_elects()) {
    bulk_prefetch_l2<Order>(in, bytes);
    mbarrier_arrive_expect(s.full, bytes);
    if (cluster_blocks() == 1)
      bulk_load<Order>(s.data, in, bytes, s.full);
    else if (cluster_rank() == 0)
      bulk_load_multicast<Order>(s.data, in, bytes, s.full, uint16_t((1 << cluster_blocks()) - 1));
    mbarrier_wait(s.full, 0);
    bulk_store<Order>(out + cluster_rank() * bytes, s.data, bytes);
    tma_commit();
    tma_wait_read();
  }
  cluster_sync();
}

// Makes of `base`, in `made`, the map of another matrix, and copies a box of 16 bytes by 4 rows by it.
__global__ void wrap_map_edit(TensorMap *made, const TensorMap *base, const void *matrix, uint32_t columns,
                              uint32_t rows, uint64_t stride, unsigned char *out) {
  OPSWAP_SMEM(CopyTile, s);
  one_barrier(s);
  if (threadIdx.x < 32) {
    if (threadIdx.x == 0) {
      s.map = *base;
      map_set_address(s.map, matrix);
      map_set_extent<0>(s.map, columns);
      map_set_extent<1>(s.map, rows);
      map_set_stride<1>(s.map, stride);
    }
    __syncwarp();
    map_publish(made, s.map);
  }
  __syncthreads();
  if (threadIdx.x / 32 != 2 || !elect_one()) return;
  map_acquire(made);
  mbarrier_arrive_expect(s.full, 64);
  tma_load(s.data, made, s.full, 0, 1);
  mbarrier_wait(s.full, 0);
  bulk_store(out, s.data, 64);
  tma_commit();
  tma_wait_read();
}

}  // namespace opswap::sm90
