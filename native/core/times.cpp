// Histograms of times: ticks as nanoseconds, bins, windows that begin anew, and percentiles out of bins.
#include "times.h"

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

int bin_of(uint64_t ticks) {
  if (ticks < 4) return 0;
  const int octave = 63 - std::countl_zero(ticks);
  const int quarter = int(ticks >> (octave - 2)) & 3;
  const int bin = 4 * (octave - 2) + quarter;
  return bin < Times::kBins ? bin : Times::kBins - 1;
}

uint64_t bin_top(int bin) {
  const int octave = bin / 4 + 2;
  return (uint64_t(4 + bin % 4 + 1) << (octave - 2)) - 1;
}

// A power of two of ticks: 17 to 34 s of a TSC of 2 to 4 GHz, 34 s of a clock in nanoseconds.
uint64_t window_shift() { return use_tsc ? 36 : 35; }

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

uint64_t ns_to_ticks(double ns) {
  constexpr uint64_t kMany = uint64_t{1} << 40;
  return uint64_t(ns * double(kMany) / ticks_to_ns(kMany));
}

double window_seconds() { return ticks_to_ns(uint64_t{1} << window_shift()) * 1e-9; }

void Times::add(uint64_t elapsed) {
  ticks.fetch_add(elapsed, std::memory_order_relaxed);
  bins[bin_of(elapsed)].fetch_add(1, std::memory_order_relaxed);
}

void Times::clear() {
  ticks = 0;
  for (auto &bin : bins) bin.store(0, std::memory_order_relaxed);
}

void RecentTimes::add(uint64_t elapsed, uint64_t now) {
  const uint64_t number = now >> window_shift();
  Window &window = windows_[number & 1];
  uint64_t seen = window.number.load(std::memory_order_relaxed);
  if (seen != number && window.number.compare_exchange_strong(seen, number)) [[unlikely]]
    window.times.clear();
  window.times.add(elapsed);
}

TimesSummary RecentTimes::summary(uint64_t now) const {
  TimesSum sum;
  sum.add(*this, now);
  return sum.summary();
}

void RecentTimes::clear() {
  for (Window &window : windows_) window.times.clear();
}

void TimesSum::add(const RecentTimes &times, uint64_t now) {
  const uint64_t number = now >> window_shift();
  for (const auto &window : times.windows_)
    if (const uint64_t seen = window.number.load(std::memory_order_relaxed); seen == number || seen + 1 == number)
      add(window.times);
}

void TimesSum::add(const Times &times) {
  ticks_ += times.ticks.load(std::memory_order_relaxed);
  for (int b = 0; b < Times::kBins; ++b) {
    const uint64_t n = times.bins[b].load(std::memory_order_relaxed);
    bins_[b] += n;
    count_ += n;
  }
}

TimesSummary TimesSum::summary() const {
  if (!count_) return {};
  return {count_, ticks_to_ns(ticks_) / double(count_), percentile_ns(0.50), percentile_ns(0.99)};
}

double TimesSum::percentile_ns(double p) const {
  const uint64_t rank = uint64_t(std::ceil(p * double(count_)));
  uint64_t seen = 0;
  for (int b = 0; b < Times::kBins; ++b)
    if ((seen += bins_[b]) >= rank) return ticks_to_ns(bin_top(b));
  return ticks_to_ns(bin_top(Times::kBins - 1));
}

}  // namespace opswap
