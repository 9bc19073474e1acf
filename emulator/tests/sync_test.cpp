// Barriers, lanes, shared memory and mbarrier: what is right runs under every seed, what is wrong is named.
#include <vector>

#include "check.h"
#include "common/sm90/barrier.h"
#include "common/sm90/mbarrier.h"

using namespace opswap;
using namespace opswap::sm90;

namespace {

constexpr uint64_t kSeeds = 8;

template <class Body>
emu::Report run(unsigned threads, size_t smem, Body body, unsigned blocks = 1) {
  return emu::run({"test", {blocks}, {threads}, smem}, body);
}

template <class Test>
void with_seeds(Test test) {
  for (uint64_t seed = 0; seed < kSeeds; ++seed) {
    emu::options().seed = seed;
    test();
  }
}

}  // namespace

CASE(syncthreads_makes_stores_visible) {
  with_seeds([] {
    int wrong = 0;
    EXPECT_CLEAN(run(
        96, 96 * 4,
        [&] {
          OPSWAP_SMEM(int[96], s);
          s[threadIdx.x] = int(threadIdx.x);
          __syncthreads();
          if (s[95 - threadIdx.x] != int(95 - threadIdx.x)) atomicAdd(&wrong, 1);
        },
        3));
    EXPECT(wrong == 0);
  });
}

CASE(shared_memory_starts_poisoned) {
  int poisoned = 0;
  EXPECT_CLEAN(run(32, 128, [&] {
    OPSWAP_SMEM(float[32], s);
    OPSWAP_SHARED(float[4], t);
    atomicAdd(&poisoned, int(std::isnan(s[threadIdx.x]) && std::isnan(t[threadIdx.x % 4])));
  }));
  EXPECT(poisoned == 32);
}

CASE(an_array_needs_all_of_the_memory_that_it_declares) {
  const auto fill = [] {
    OPSWAP_SMEM_ARRAY(int32_t, s, 33);
    s[threadIdx.x] = 0;
  };
  EXPECT_CLEAN(run(32, 33 * 4, fill));
  EXPECT_FOUND("the kernel uses 132 bytes of dynamic shared memory, the launch asked for 128", run(32, 32 * 4, fill));
}

CASE(racy_missing_barrier_shows_as_poison_under_some_seed) {
  int seen = 0;
  with_seeds([&] {
    EXPECT_CLEAN(run(64, 256, [&] {
      OPSWAP_SMEM(float[64], s);
      s[threadIdx.x] = 1;
      if (std::isnan(s[63 - threadIdx.x])) atomicAdd(&seen, 1);
    }));
  });
  EXPECT(seen > 0);
}

CASE(threads_that_ended_do_not_hold_a_barrier) {
  with_seeds([] {
    EXPECT_CLEAN(run(64, 0, [] {
      if (threadIdx.x >= 32) return;
      __syncthreads();
    }));
  });
}

CASE(deadlock_tells_each_threads_reason) {
  const auto report = run(64, 8, [] {
    OPSWAP_SMEM(Mbarrier, m);
    if (threadIdx.x == 0) mbarrier_init(m, 2);
    barrier_sync(1, 64);
    if (threadIdx.x < 32)
      barrier_sync(2, 64);
    else
      mbarrier_wait(m, 0);
  });
  EXPECT_FOUND("deadlock: 64 of 64 threads wait", report);
  EXPECT_FOUND("barrier 2, at sync_test.cpp:", report);
  EXPECT_FOUND(
      "mbarrier.try_wait parity 0 of the mbarrier at byte 0 (2 of 2 arrivals and 0 bytes to come), at sync_test.cpp:",
      report);
}

CASE(named_barriers_join_only_their_warps) {
  with_seeds([] {
    int wrong = 0;
    EXPECT_CLEAN(run(96, 96 * 4, [&] {
      OPSWAP_SMEM(int[96], s);
      s[threadIdx.x] = 1;
      if (threadIdx.x >= 64) return barrier_arrive(3, 96);
      barrier_sync(3, 96);
      if (s[95 - threadIdx.x] != 1) atomicAdd(&wrong, 1);
    }));
    EXPECT(wrong == 0);
  });
}

CASE(barrier_of_two_sizes_is_refused) {
  EXPECT_FOUND("barrier 1", run(64, 0, [] {
                 if (threadIdx.x < 32) barrier_arrive(1, 64);
                 __syncthreads();
                 if (threadIdx.x >= 32) barrier_sync(1, 32);
               }));
  EXPECT_FOUND("not whole warps", run(64, 0, [] { barrier_sync(1, 33); }));
  EXPECT_FOUND("numbered 0 to 15", run(64, 0, [] { barrier_sync(16, 64); }));
}

CASE(shuffles_votes_and_reductions) {
  with_seeds([] {
    int right = 0;
    EXPECT_CLEAN(run(64, 0, [&] {
      const int lane = int(threadIdx.x % 32);
      bool ok = __shfl_xor_sync(~0u, lane, 5) == (lane ^ 5);
      ok &= __shfl_sync(~0u, lane, 3, 8) == (lane / 8) * 8 + 3;
      ok &= __shfl_down_sync(~0u, lane, 4) == (lane + 4 < 32 ? lane + 4 : lane);
      ok &= __shfl_up_sync(~0u, lane, 4u) == (lane >= 4 ? lane - 4 : lane);
      ok &= __ballot_sync(~0u, lane % 2) == 0xaaaaaaaau;
      ok &= __reduce_add_sync(~0u, lane) == 31 * 16 && __reduce_max_sync(~0u, lane) == 31;
      ok &= __match_any_sync(~0u, lane % 4) == 0x11111111u << lane % 4;
      if (lane < 16) ok &= __shfl_xor_sync(0xffffu, double(lane), 1) == double(lane ^ 1);
      atomicAdd(&right, int(ok));
    }));
    EXPECT(right == 64);
  });
}

CASE(divergent_warp_is_named) {
  EXPECT_FOUND("divergent warp", run(32, 0, [] {
                 if (threadIdx.x < 16)
                   __syncwarp();
                 else
                   __shfl_xor_sync(~0u, 1, 1);
               }));
  EXPECT_FOUND("which has ended", run(32, 0, [] {
                 if (threadIdx.x < 16) __shfl_xor_sync(~0u, 1, 1);
               }));
  EXPECT_FOUND("is not in its own mask", run(32, 0, [] { __shfl_xor_sync(0xffffu, 1, 1); }));
  EXPECT_FOUND("which is not in mask", run(32, 0, [] {
                 if (threadIdx.x < 16) __shfl_xor_sync(0xffffu, 1, 16);
               }));
}

CASE(shared_memory_has_its_bounds) {
  EXPECT_FOUND("the launch asked for 64", run(32, 64, [] {
                 OPSWAP_SMEM(float[32], s);
                 s[threadIdx.x] = 0;
               }));
  EXPECT_FOUND("at most 232448", run(32, 228 * 1024, [] {}));
  EXPECT_FOUND("1 to 1024 threads", run(1025, 0, [] {}));
  EXPECT_FOUND("not in this block's shared memory", run(32, 0, [] {
                 uint64_t local;
                 mbarrier_init(local, 1);
               }));
}

CASE(overrun_of_shared_memory_is_found) {
  EXPECT_FOUND("at byte 64", run(32, 64, [] {
                 OPSWAP_SMEM(char[64], s);
                 volatile char *p = s;
                 p[64 + threadIdx.x] = 0;
               }));
}

CASE(mbarrier_phases) {
  with_seeds([] {
    int wrong = 0;
    EXPECT_CLEAN(run(64, 512, [&] {
      struct Shared {
        int value[64];
        Mbarrier filled, emptied;
      };
      OPSWAP_SMEM(Shared, s);
      if (threadIdx.x == 0) mbarrier_init(s.filled, 32), mbarrier_init(s.emptied, 32), fence_mbarrier_init();
      __syncthreads();
      for (int round = 0; round < 5; ++round) {
        if (threadIdx.x < 32) {
          mbarrier_wait(s.emptied, (round & 1) ^ 1);
          s.value[threadIdx.x] = round;
          mbarrier_arrive(s.filled);
        } else {
          mbarrier_wait(s.filled, round & 1);
          if (s.value[63 - threadIdx.x] != round) atomicAdd(&wrong, 1);
          mbarrier_arrive(s.emptied);
        }
      }
    }));
    EXPECT(wrong == 0);
  });
}

CASE(mbarrier_misuse_is_named) {
  const auto alone = [](auto body) {
    return run(32, 16, [=] {
      OPSWAP_SMEM(Mbarrier[2], m);
      if (threadIdx.x == 0) body(m[0]);
    });
  };
  EXPECT_FOUND("is not initialised", alone([](Mbarrier &m) { mbarrier_arrive(m); }));
  EXPECT_FOUND("0 arrivals", alone([](Mbarrier &m) { mbarrier_init(m, 0); }));
  EXPECT_FOUND("is in use", alone([](Mbarrier &m) {
                 mbarrier_init(m, 1);
                 mbarrier_init(m, 1);
               }));
  EXPECT_FOUND("is not initialised", alone([](Mbarrier &m) {
                 mbarrier_init(m, 1);
                 mbarrier_inval(m);
                 mbarrier_wait(m, 1);
               }));
  EXPECT_FOUND("more arrivals than its 1", alone([](Mbarrier &m) {
                 mbarrier_init(m, 1);
                 mbarrier_arrive_expect(m, 16);
                 mbarrier_arrive(m);
               }));
  EXPECT_FOUND("outstanding", alone([](Mbarrier &m) {
                 mbarrier_init(m, 1);
                 mbarrier_expect(m, 1 << 20);
               }));
  EXPECT_FOUND("0 of 1 arrivals and 16 bytes to come", alone([](Mbarrier &m) {
                 mbarrier_init(m, 1);
                 mbarrier_arrive_expect(m, 16);
                 mbarrier_wait(m, 0);
               }));
}

CASE(a_report_names_launch_block_thread_and_line) {
  const int line = __LINE__ + 2;
  const auto body = [] {
    if (blockIdx.x == 2 && threadIdx.x == 7) barrier_sync(16, 32);
  };
  const auto report = run(32, 0, body, 4);
  EXPECT_FOUND("test, block (2, 0, 0), thread 7, at sync_test.cpp:" + std::to_string(line) + ": barrier 16", report);
  EXPECT(report.place == "sync_test.cpp:" + std::to_string(line));
}

CASE(a_deadlock_tells_each_waiting_line) {
  const int line = __LINE__ + 3;
  const auto report = run(64, 0, [] {
    if (threadIdx.x < 32)
      barrier_sync(2, 64);
    else
      barrier_sync(3, 64);
  });
  EXPECT_FOUND("barrier 2, at sync_test.cpp:" + std::to_string(line) + ": threads 0-31", report);
  EXPECT_FOUND("barrier 3, at sync_test.cpp:" + std::to_string(line + 2) + ": threads 32-63", report);
}
