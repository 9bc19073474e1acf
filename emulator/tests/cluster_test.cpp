// Clusters: who is who, the barrier, peers' shared memory, multicast; and each misuse by its name.
#include <numeric>
#include <vector>

#include "check.h"
#include "common/sm90/cluster.h"
#include "common/sm90/tma.h"
#include "common/sm90/wgmma.h"

using namespace opswap;
using namespace opswap::sm90;

namespace {

constexpr uint64_t kSeeds = 8;

template <class Body>
emu::Report run(Body body, dim3 cluster = 2, dim3 grid = 4, unsigned threads = 32, size_t smem = 1024) {
  return emu::run({"test", grid, {threads}, smem, cluster}, body);
}

template <class Test>
void with_seeds(Test test) {
  for (uint64_t seed = 0; seed < kSeeds; ++seed) {
    emu::options().seed = seed;
    test();
  }
}

struct Box {
  alignas(128) float tile[64];
  Mbarrier full;
};

}  // namespace

CASE(cluster_ids) {
  int wrong = 0, blocks = 0;
  EXPECT_CLEAN(run(
      [&] {
        const uint3 in = block_in_cluster(), of = cluster_in_grid();
        const bool ok = cluster_blocks() == 4 && of.x * 2 + in.x == blockIdx.x && of.y * 2 + in.y == blockIdx.y &&
                        of.z == blockIdx.z && in.z == 0 && cluster_rank() == in.x + 2 * in.y;
        atomicAdd(&wrong, int(!ok));
        if (threadIdx.x == 0) atomicAdd(&blocks, 1);
      },
      dim3(2, 2), dim3(6, 4, 2)));
  EXPECT(wrong == 0 && blocks == 48);
}

CASE(cluster_sync_makes_stores_of_peers_visible) {
  with_seeds([] {
    int wrong = 0;
    EXPECT_CLEAN(run([&] {
      OPSWAP_SMEM(int[64], s);
      OPSWAP_SHARED(int4[32], t);
      const int rank = int(cluster_rank()), other = 1 - rank, i = int(threadIdx.x);
      s[i] = int(blockIdx.x) * 100 + i;
      cluster_store(map_shared(t + i, other), make_int4(rank, i, 0, 0));
      cluster_store(map_shared(s, other) + (32 + i), rank);
      cluster_sync();
      const int peer_block = int(blockIdx.x) + other - rank;
      if (cluster_load(map_shared(&s[31 - i], other)) != peer_block * 100 + 31 - i) atomicAdd(&wrong, 1);
      if (t[i].x != other || t[i].y != i || s[32 + i] != other) atomicAdd(&wrong, 1);
      cluster_sync();
    }));
    EXPECT(wrong == 0);
  });
}

CASE(cluster_arrive_and_wait_apart) {
  with_seeds([] {
    int wrong = 0;
    EXPECT_CLEAN(run(
        [&] {
          OPSWAP_SMEM(int[3], s);
          for (int round = 0; round < 3; ++round) {
            if (threadIdx.x == 0) s[round] = int(cluster_rank()) + round;
            cluster_arrive();
            if (threadIdx.x == 1 && round == 0 && cluster_rank() == 2) return;  // who ended does not hold the others
            cluster_wait();
            for (unsigned peer = 0; peer < 3; ++peer)
              if (threadIdx.x == 0 && cluster_load(map_shared(&s[round], peer)) != int(peer) + round)
                atomicAdd(&wrong, 1);
          }
          cluster_sync();
        },
        3, 6));
    EXPECT(wrong == 0);
  });
}

CASE(cluster_mbarrier_counts_arrivals_of_peers) {
  with_seeds([] {
    int wrong = 0;
    EXPECT_CLEAN(run([&] {
      struct Shared {
        int value[32];
        Mbarrier full;
      };
      OPSWAP_SMEM(Shared, s);
      if (threadIdx.x == 0) {
        mbarrier_init(s.full, 32);
        fence_mbarrier_init();
      }
      cluster_sync();
      const uint32_t other = 1 - cluster_rank();
      for (int round = 0; round < 4; ++round) {
        cluster_store(map_shared(&s.value[threadIdx.x], other), round * 1000 + int(threadIdx.x));
        mbarrier_arrive(map_shared(&s.full, other));
        if (round % 2 == 0 || !mbarrier_test_cluster(s.full, 1)) mbarrier_wait_cluster(s.full, round % 2);
        if (!mbarrier_test_cluster(s.full, round % 2)) atomicAdd(&wrong, 1);
        if (s.value[31 - threadIdx.x] != round * 1000 + 31 - int(threadIdx.x)) atomicAdd(&wrong, 1);
        cluster_sync();
      }
    }));
    EXPECT(wrong == 0);
  });
}

CASE(cluster_copy_fills_a_peer) {
  with_seeds([] {
    int wrong = 0;
    EXPECT_CLEAN(run([&] {
      struct Shared {
        alignas(16) int from[32], to[32];
        Mbarrier full;
      };
      OPSWAP_SMEM(Shared, s);
      s.from[threadIdx.x] = int(blockIdx.x * 32 + threadIdx.x);
      if (threadIdx.x == 0) mbarrier_init(s.full, 1), fence_mbarrier_init();
      fence_async_proxy();
      cluster_sync();
      const uint32_t other = 1 - cluster_rank();
      if (threadIdx.x == 0) {
        mbarrier_arrive_expect(map_shared(&s.full, other), 128);
        cluster_copy(map_shared(&s.to[0], other), s.from, 128, map_shared(&s.full, other));
      }
      mbarrier_wait_cluster(s.full, 0);
      if (s.to[threadIdx.x] != int((blockIdx.x ^ 1) * 32 + threadIdx.x)) atomicAdd(&wrong, 1);
      cluster_sync();
    }));
    EXPECT(wrong == 0);
  });
}

// Each block of a cluster loads its half of a box for both.
CASE(multicast_loads_once_for_all) {
  alignas(128) static float in[256];
  std::iota(std::begin(in), std::end(in), 0.0f);
  const TensorMapSpec spec{MapType::f32, 2, in, {8, 32}, {32}, {8, 4}, MapSwizzle::none};
  emu::TensorMap map;
  EXPECT(encode(map, spec) == nullptr);
  with_seeds([&] {
    int wrong = 0;
    const auto report = run([&] {
      OPSWAP_SMEM(Box, s);
      if (threadIdx.x == 0) mbarrier_init(s.full, 1), fence_mbarrier_init();
      cluster_sync();
      const int rank = int(cluster_rank()), first = int(blockIdx.x) / 2 * 64;
      if (threadIdx.x == 0) {
        mbarrier_arrive_expect(s.full, 256);
        if (blockIdx.x < 2)
          tma_load_multicast(s.tile + rank * 32, &map, s.full, 3, 0, first / 8 + rank * 4);
        else
          bulk_load_multicast(s.tile + rank * 32, in + first + rank * 32, 128, s.full, 3);
      }
      mbarrier_wait(s.full, 0);
      for (int i = int(threadIdx.x); i < 64; i += 32)
        if (s.tile[i] != float(first + i)) atomicAdd(&wrong, 1);
      cluster_sync();
    });
    EXPECT_CLEAN(report);
    EXPECT(wrong == 0);
    EXPECT(report.counters.load_bytes == 2 * 64 * sizeof(float));
  });
}

CASE(cluster_misuse_is_named) {
  const auto alone = [](auto body) {
    return run([=] {
      OPSWAP_SMEM(Box, s);
      if (threadIdx.x == 0) mbarrier_init(s.full, 1);
      cluster_sync();
      if (threadIdx.x == 0 && cluster_rank() == 0) body(s);
      cluster_sync();
    });
  };
  EXPECT_FOUND("rank 2 of a cluster of 2", alone([](Box &s) { map_shared(&s, 2); }));
  EXPECT_FOUND("from byte 1024 of shared memory",
               alone([](Box &s) { cluster_store(map_shared(s.tile, 1) + 256, 0.0f); }));
  EXPECT_FOUND("not in this block's shared memory", alone([](Box &s) { cluster_load(map_shared(s.tile, 1) + -16); }));
  EXPECT_FOUND("16 bytes at",
               alone([](Box &s) { cluster_load(map_shared(reinterpret_cast<float4 *>(s.tile + 1), 1)); }));
  EXPECT_FOUND("more arrivals than its 1", alone([](Box &s) {
                 mbarrier_arrive(map_shared(&s.full, 1));
                 mbarrier_arrive_expect(map_shared(&s.full, 1), 16);
                 mbarrier_arrive(map_shared(&s.full, 1));
               }));
  EXPECT_FOUND("is not initialised",
               alone([](Box &s) { mbarrier_arrive(map_shared(reinterpret_cast<Mbarrier *>(s.tile), 1)); }));
  EXPECT_FOUND("the barrier is of block 0, the data of 1",
               alone([](Box &s) { cluster_copy(map_shared(s.tile, 1), s.tile, 16, map_shared(&s.full, 0)); }));
  EXPECT_FOUND("needs a multiple of 16",
               alone([](Box &s) { cluster_copy(map_shared(s.tile, 1), s.tile, 8, map_shared(&s.full, 1)); }));
  alignas(16) static float in[8];
  EXPECT_FOUND("multicast to no block", alone([](Box &s) { bulk_load_multicast(s.tile, in, 16, s.full, 0); }));
  EXPECT_FOUND("rank 2 of a cluster of 2", alone([](Box &s) { bulk_load_multicast(s.tile, in, 16, s.full, 6); }));
  EXPECT_FOUND("missing cluster_wait", alone([](Box &) { cluster_arrive(), cluster_arrive(); }));
  EXPECT_FOUND("missing cluster_arrive", alone([](Box &) { cluster_wait(); }));
  EXPECT_FOUND("divides the grid", run([] {}, 3, 4));
  EXPECT_FOUND("1 to 16 blocks", run([] {}, 32, 32));
}

CASE(cluster_deadlock_names_the_block) {
  const auto report = run([] {
    OPSWAP_SMEM(Box, s);
    if (threadIdx.x == 0) mbarrier_init(s.full, 1);
    cluster_sync();
    if (cluster_rank() == 1) mbarrier_wait_cluster(s.full, 0);
    cluster_sync();
  });
  EXPECT_FOUND("deadlock: 64 of 64 threads wait", report);
  EXPECT_FOUND("barrier.cluster.wait phase 1, at cluster_test.cpp:", report);
  EXPECT_FOUND("in block 0 of the cluster: threads 0-31", report);
  EXPECT_FOUND("(1 of 1 arrivals and 0 bytes to come), at cluster_test.cpp:", report);
  EXPECT_FOUND("in block 1 of the cluster: threads 0-31", report);
}

// To the race check the end of a block writes its shared memory, so that under every seed it must come later.
CASE(racy_block_that_ends_before_a_peer_reads_it) {
  int found = 0;
  with_seeds([&] {
    const auto report = run([] {
      OPSWAP_SMEM(int[32], s);
      s[threadIdx.x] = 1;
      cluster_sync();
      if (cluster_rank() == 0 && cluster_load(map_shared(&s[threadIdx.x], 1)) != 1) emu::fail("wrong value");
    });
    found += report.error.find("block 1 of the cluster has ended, and its shared memory with it") != std::string::npos;
  });
  EXPECT(found > 0);
}

CASE(load_into_a_block_that_ended_is_found) {
  emu::options().seed = 1;  // copies are late
  alignas(16) static float in[8];
  EXPECT_FOUND("a load into shared memory of block 1 of the cluster, which has ended", run([] {
                 OPSWAP_SMEM(Box, s);
                 if (threadIdx.x == 0) mbarrier_init(s.full, 1);
                 cluster_sync();
                 if (cluster_rank() == 1) return;
                 if (threadIdx.x == 0) {
                   mbarrier_arrive_expect(s.full, 16);
                   bulk_load_multicast(s.tile, in, 16, s.full, 3);
                 }
                 mbarrier_wait(s.full, 0);
               }));
}

// A wait of block scope does not take over what a peer did before it arrived.
CASE(racy_wait_of_block_scope_for_a_peer) {
  with_seeds([] {
    EXPECT_CLEAN(run([] {
      struct Shared {
        int value[32];
        Mbarrier full;
      };
      OPSWAP_SMEM(Shared, s);
      if (threadIdx.x == 0) mbarrier_init(s.full, 32);
      cluster_sync();
      cluster_store(map_shared(&s.value[threadIdx.x], 1 - cluster_rank()), 1);
      mbarrier_arrive(map_shared(&s.full, 1 - cluster_rank()));
      mbarrier_wait(s.full, 0);
      if (s.value[31 - threadIdx.x] != 1) emu::fail("wrong value");
      cluster_sync();
    }));
  });
}

CASE(racy_mbarrier_of_a_peer_before_it_is_initialised) {
  with_seeds([&] {
    const auto report = run([] {
      OPSWAP_SMEM(Box, s);
      if (threadIdx.x == 0) mbarrier_init(s.full, 1);
      __syncthreads();
      if (threadIdx.x == 0) mbarrier_arrive(map_shared(&s.full, 1 - cluster_rank()));
      cluster_sync();
    });
    EXPECT(report || report.error.find("is not initialised") != std::string::npos);
  });
}

CASE(racy_cluster_copy_without_a_proxy_fence) {
  EXPECT_CLEAN(run([] {
    struct Shared {
      alignas(16) int from[32], to[32];
      Mbarrier full;
    };
    OPSWAP_SMEM(Shared, s);
    s.from[threadIdx.x] = 1;
    if (threadIdx.x == 0) mbarrier_init(s.full, 1);
    cluster_sync();
    const uint32_t other = 1 - cluster_rank();
    if (threadIdx.x == 0) {
      mbarrier_arrive_expect(s.full, 128);
      cluster_copy(map_shared(&s.to[0], other), s.from, 128, map_shared(&s.full, other));
    }
    mbarrier_wait(s.full, 0);
    cluster_sync();
  }));
}
