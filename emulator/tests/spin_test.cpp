// A loop around mbarrier_test: others go on meanwhile, and what nobody will ever complete is a deadlock.
#include "check.h"
#include "common/sm90/tma.h"

using namespace opswap;
using namespace opswap::sm90;

CASE(a_loop_that_tests_an_mbarrier_leaves_others_their_turn) {
  struct Shared {
    alignas(16) int data[32];
    Mbarrier full;
  };
  alignas(16) static const int from[32] = {1, 2, 3};
  for (uint64_t seed = 0; seed < 8; ++seed) {
    emu::options().seed = seed;
    int sum = 0;
    EXPECT_CLEAN(emu::run({"test", {1}, {64}, sizeof(Shared)}, [&] {
      OPSWAP_SMEM(Shared, s);
      if (threadIdx.x == 0) mbarrier_init(s.full, 1), fence_mbarrier_init();
      __syncthreads();
      if (threadIdx.x == 63) {
        mbarrier_arrive_expect(s.full, sizeof s.data);
        bulk_load(s.data, from, sizeof s.data, s.full);
      }
      while (!mbarrier_test(s.full, 0)) {
      }
      if (threadIdx.x == 0) sum = s.data[0] + s.data[1] + s.data[2];
    }));
    EXPECT(sum == 6);
  }
}

CASE(a_loop_of_tests_may_give_up) {
  int asked = 0;
  EXPECT_CLEAN(emu::run({"test", {1}, {32}, 8}, [&] {
    OPSWAP_SMEM(Mbarrier, m);
    if (threadIdx.x == 0)
      for (mbarrier_init(m, 1); asked < 100 && !mbarrier_test(m, 0);) ++asked;
  }));
  EXPECT(asked == 100);
}

CASE(a_test_that_nobody_will_answer_is_a_deadlock) {
  const auto report = emu::run({"test", {1}, {32}, 8}, [] {
    OPSWAP_SMEM(Mbarrier, m);
    if (threadIdx.x == 0) mbarrier_init(m, 1);
    __syncwarp();
    while (!mbarrier_test(m, 0)) {
    }
  });
  EXPECT_FOUND("deadlock: 32 of 32 threads wait", report);
  EXPECT_FOUND("mbarrier.test_wait parity 0 of the mbarrier at byte 0 (1 of 1 arrivals", report);
}
