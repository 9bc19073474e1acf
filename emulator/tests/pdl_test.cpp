// Programmatic launches: what a thread may touch before it has waited for the kernels in front.
#include "common/sm90/pdl.h"
#include "check.h"
#include "common/device/vec.h"
#include "common/sm90/barrier.h"
#include "common/sm90/tma.h"

using namespace opswap;
using namespace opswap::device;
using namespace opswap::sm90;

namespace {

constexpr int kThreads = 64;
alignas(128) float a[kThreads], b[kThreads], c[kThreads];

emu::Report programmatic(const char *name, const std::function<void()> &body, size_t smem = 0) {
  return emu::run({name, {2}, {kThreads}, smem, {}, true}, body);
}
emu::Report plain(const char *name, const std::function<void()> &body) {
  return emu::run({name, {2}, {kThreads}}, body);
}

Vec<float, 1> read(const float *p) { return load<1>(p + threadIdx.x); }
void write(float *p) { store(p + threadIdx.x, Vec<float, 1>{{1.0f}}); }

}  // namespace

CASE(a_read_before_the_wait_is_found) {
  const emu::Stream stream;
  emu::in_front(a, sizeof a);
  const auto report = programmatic("second", [] {
    if (threadIdx.x == 5) read(a);
    dependency_wait();
  });
  EXPECT_FOUND("second, block (0, 0, 0), thread 5, at pdl_test.cpp:", report);
  EXPECT_FOUND("programmatic launch: reads 4 bytes at", report);
  EXPECT_FOUND("before dependency_wait(), which the kernel in front writes", report);
}

CASE(a_wait_and_what_nobody_writes_are_clean) {
  const emu::Stream stream;
  emu::in_front(a, sizeof a);
  EXPECT_CLEAN(programmatic("second", [] {
    read(b);
    dependency_trigger();
    dependency_wait();
    read(a), write(a), write(b);
  }));
}

CASE(counted_kernels_of_a_stream_are_in_front_of_each_other) {
  const emu::Stream stream;
  EXPECT_CLEAN(plain("first", [] {
    dependency_trigger();  // however early: a wait is for the end of the kernel
    read(b), write(a);
  }));
  const auto overwrites = programmatic("second", [] { write(b), dependency_wait(); });
  EXPECT_FOUND("writes 4 bytes at", overwrites);
  EXPECT_FOUND("before dependency_wait(), which first reads", overwrites);
}

CASE(counted_bytes_beside_those_written_may_be_read) {
  for (const int distance : {3, 4}) {
    const emu::Stream stream;
    EXPECT_CLEAN(plain("first", [] {
      if (threadIdx.x == 4) write(a);
    }));
    const auto report = programmatic("second", [=] {
      if (threadIdx.x == 0) load<1>(a + distance);
      dependency_wait();
    });
    distance == 3 ? EXPECT_CLEAN(report) : EXPECT_FOUND("which first writes", report);
  }
}

CASE(counted_a_launch_that_is_not_programmatic_waits_for_all) {
  const emu::Stream stream;
  EXPECT_CLEAN(plain("first", [] { write(a); }));
  EXPECT_CLEAN(plain("second", [] { read(a), write(b); }));
  EXPECT_FOUND("which second writes", programmatic("third", [] { read(b), dependency_wait(); }));
}

// A kernel that lets the next one start before it has waited itself leaves the one in front of it running as well.
CASE(counted_a_trigger_before_the_wait_reaches_further_back) {
  for (const bool early : {false, true}) {
    const emu::Stream stream;
    EXPECT_CLEAN(plain("first", [] { write(a); }));
    EXPECT_CLEAN(programmatic("second", [=] {
      if (early) dependency_trigger();
      dependency_wait();
      if (!early) dependency_trigger();
    }));
    const auto report = programmatic("third", [] { read(a), dependency_wait(); });
    early ? EXPECT_FOUND("which first writes", report) : EXPECT_CLEAN(report);
  }
}

CASE(a_grid_that_never_waits_is_found) {
  const emu::Stream stream;
  emu::in_front(a, sizeof a);
  EXPECT_FOUND("second: programmatic launch: no thread called dependency_wait()",
               programmatic("second", [] { read(b); }));
}

CASE(threads_behind_a_barrier_share_a_wait) {
  for (const bool ordered : {true, false}) {
    const emu::Stream stream;
    emu::in_front(a, sizeof a);
    const auto report = programmatic("second", [=] {
      if (threadIdx.x == 0 && ordered) dependency_wait();
      barrier_sync(1, kThreads);
      if (threadIdx.x == 0) dependency_wait();
      if (threadIdx.x > 0) read(a);
    });
    ordered ? EXPECT_CLEAN(report) : EXPECT_FOUND("reads 4 bytes at", report);
  }
}

CASE(copies_are_asked_for_behind_the_wait) {
  struct Shared {
    alignas(128) float data[kThreads];
    Mbarrier full;
  };
  for (const bool early : {true, false}) {
    const emu::Stream stream;
    emu::in_front(a, sizeof a);
    const auto body = [=] {
      OPSWAP_SMEM(Shared, s);
      if (threadIdx.x == 0) {
        mbarrier_init(s.full, 1), fence_mbarrier_init();
        mbarrier_arrive_expect(s.full, sizeof s.data);
        if (!early) dependency_wait();
        bulk_load(s.data, a, sizeof s.data, s.full);
        if (early) dependency_wait();
      }
      __syncthreads();
      mbarrier_wait(s.full, 0);
      write(a);  // ordered behind the wait
    };
    const auto report = programmatic("second", body, sizeof(Shared));
    early ? EXPECT_FOUND("reads 256 bytes at", report) : EXPECT_CLEAN(report);
  }
}

CASE(atomics_count_as_writes) {
  const emu::Stream stream;
  emu::in_front(a, sizeof a);
  EXPECT_FOUND("writes 4 bytes at", programmatic("second", [] { atomicAdd(a, 1.0f), dependency_wait(); }));
}

CASE(what_is_between_streams_orders_them) {
  {
    const emu::Stream stream;
    EXPECT_CLEAN(plain("first", [] { write(a); }));
  }
  const emu::Stream stream;
  EXPECT_CLEAN(programmatic("second", [] { read(a), dependency_wait(); }));
  emu::in_front(c, sizeof c);
  emu::in_front(nullptr, 0);
  EXPECT_CLEAN(programmatic("third", [] { read(c); }));
}
