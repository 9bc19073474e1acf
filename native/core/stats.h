// Per-implementation counters: every call is counted, the first calls and then one in eight are timed, in all and by
// shape bucket.
#pragma once

#include "places.h"
#include "times.h"

namespace opswap {

struct BucketTimes {
  explicit BucketTimes(uint64_t bucket) : key(bucket) {}
  uint64_t key;
  RecentTimes times;
};

// Times by shape bucket; those of buckets that found no place are counted as beyond it. A time is kept once: what all
// buckets have seen is summed when somebody asks.
class BucketTable {
 public:
  void add(uint64_t bucket, uint64_t elapsed, uint64_t now);
  TimesSummary all(uint64_t now) const;
  void clear();
  uint64_t beyond() const { return beyond_.load(std::memory_order_relaxed); }
  template <class F>
  void each(F &&see) const {
    places_.each(see);
  }

 private:
  Places<BucketTimes, 64> places_;
  std::atomic<uint64_t> beyond_{0};
  RecentTimes rest_;
};

struct ImplStats {
  static constexpr uint64_t kAlwaysTimed = 256, kTimedEvery = 8;

  std::atomic<uint64_t> calls{0};
  std::atomic<uint64_t> errors{0};
  BucketTable buckets;

  // Counts a call; true when it should be timed.
  bool count() {
    const uint64_t n = calls.fetch_add(1, std::memory_order_relaxed);
    return n < kAlwaysTimed || n % kTimedEvery == 0;
  }
  void reset();
};

}  // namespace opswap
