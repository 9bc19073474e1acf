// Counters of calls: times by shape bucket.
#include "stats.h"

namespace opswap {

void BucketTable::add(uint64_t bucket, uint64_t elapsed, uint64_t now) {
  if (BucketTimes *of = places_.at(bucket))
    of->times.add(elapsed, now);
  else
    beyond_.fetch_add(1, std::memory_order_relaxed);
}

void BucketTable::clear() {
  places_.each([](BucketTimes &of) { of.times.clear(); });
  beyond_ = 0;
}

void ImplStats::reset() {
  calls = errors = 0;
  recent.clear();
  buckets.clear();
}

}  // namespace opswap
