// Per-implementation counters: every call is counted, the first calls and then one in eight are timed.
#pragma once

#include <atomic>
#include <cstdint>

namespace opswap {

// Timestamp in ticks; ticks_to_ns converts. The TSC where it is invariant, because a clock call costs as much as a
// check.
uint64_t ticks_now();
double ticks_to_ns(uint64_t ticks);

struct ImplStats {
  static constexpr int kBuckets = 4 * 48;  // quarter octaves of ticks
  static constexpr uint64_t kAlwaysTimed = 256, kTimedEvery = 8;

  std::atomic<uint64_t> calls{0};
  std::atomic<uint64_t> errors{0};
  std::atomic<uint64_t> timed{0};
  std::atomic<uint64_t> ticks{0};
  std::atomic<uint32_t> histogram[kBuckets] = {};

  // Counts a call; true when it should be timed.
  bool count() {
    const uint64_t n = calls.fetch_add(1, std::memory_order_relaxed);
    return n < kAlwaysTimed || n % kTimedEvery == 0;
  }
  void time(uint64_t elapsed);
  double mean_ns() const;
  double percentile_ns(double p) const;  // upper edge of the bucket, so at most 19% high
  void reset();
};

}  // namespace opswap
