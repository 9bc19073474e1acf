// Counters of calls: ticks as nanoseconds, and percentiles of times out of buckets.
#include "stats.h"

#include <bit>
#include <chrono>
#include <cmath>
#include <thread>

#if defined(__x86_64__)
#include <cpuid.h>
#include <x86intrin.h>
#endif

namespace opswap {
namespace {

uint64_t clock_ns() {
  return uint64_t(
      std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::steady_clock::now().time_since_epoch())
          .count());
}

#if defined(__x86_64__)
bool tsc_is_invariant() {
  unsigned a = 0, b = 0, c = 0, d = 0;
  return __get_cpuid(0x80000007, &a, &b, &c, &d) && (d & 1u << 8);
}

// Nanoseconds per tick, against the steady clock, once.
double calibrate() {
  const uint64_t t0 = __rdtsc(), n0 = clock_ns();
  std::this_thread::sleep_for(std::chrono::milliseconds(2));
  const uint64_t t1 = __rdtsc(), n1 = clock_ns();
  return double(n1 - n0) / double(t1 - t0);
}
#else
bool tsc_is_invariant() { return false; }
double calibrate() { return 1.0; }
#endif

const bool use_tsc = tsc_is_invariant();

int bucket_of(uint64_t ticks) {
  if (ticks < 4) return 0;
  const int octave = 63 - std::countl_zero(ticks);
  const int quarter = int(ticks >> (octave - 2)) & 3;
  const int bucket = 4 * (octave - 2) + quarter;
  return bucket < ImplStats::kBuckets ? bucket : ImplStats::kBuckets - 1;
}

uint64_t bucket_top(int bucket) {
  const int octave = bucket / 4 + 2;
  return (uint64_t(4 + bucket % 4 + 1) << (octave - 2)) - 1;
}

}  // namespace

uint64_t ticks_now() {
#if defined(__x86_64__)
  if (use_tsc) return __rdtsc();
#endif
  return clock_ns();
}

double ticks_to_ns(uint64_t ticks) {
  if (!use_tsc) return double(ticks);
  static const double ns_per_tick = calibrate();
  return double(ticks) * ns_per_tick;
}

void ImplStats::time(uint64_t elapsed) {
  timed.fetch_add(1, std::memory_order_relaxed);
  ticks.fetch_add(elapsed, std::memory_order_relaxed);
  histogram[bucket_of(elapsed)].fetch_add(1, std::memory_order_relaxed);
}

double ImplStats::mean_ns() const {
  const uint64_t n = timed.load(std::memory_order_relaxed);
  return n ? ticks_to_ns(ticks.load(std::memory_order_relaxed)) / double(n) : 0.0;
}

double ImplStats::percentile_ns(double p) const {
  uint64_t total = 0;
  for (const auto &h : histogram) total += h.load(std::memory_order_relaxed);
  if (!total) return 0.0;
  const uint64_t rank = uint64_t(std::ceil(p * double(total)));
  uint64_t seen = 0;
  for (int b = 0; b < kBuckets; ++b) {
    seen += histogram[b].load(std::memory_order_relaxed);
    if (seen >= rank) return ticks_to_ns(bucket_top(b));
  }
  return ticks_to_ns(bucket_top(kBuckets - 1));
}

void ImplStats::reset() {
  calls = errors = timed = ticks = 0;
  for (auto &h : histogram) h = 0;
}

}  // namespace opswap
