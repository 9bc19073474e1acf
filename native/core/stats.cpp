// Counters of calls: times by shape bucket.
#include "stats.h"

namespace opswap {

void BucketTable::add(uint64_t bucket, uint64_t elapsed, uint64_t now) {
  if (BucketTimes *of = places_.at(bucket)) return of->times.add(elapsed, now);
  beyond_.fetch_add(1, std::memory_order_relaxed);
  rest_.add(elapsed, now);
}

TimesSummary BucketTable::all(uint64_t now) const {
  TimesSum sum;
  sum.add(rest_, now);
  each([&](const BucketTimes &of) { sum.add(of.times, now); });
  return sum.summary();
}

void BucketTable::clear() {
  places_.each([](BucketTimes &of) { of.times.clear(); });
  beyond_ = 0;
  rest_.clear();
}

void ImplStats::reset() {
  calls = errors = 0;
  buckets.clear();
}

}  // namespace opswap
