// Times of calls in histograms, over the last one to two windows of about half a minute.
#pragma once

#include <atomic>
#include <cstdint>

namespace opswap {

// Timestamp in ticks; ticks_to_ns converts. The TSC where it is invariant, because a clock call costs as much as a
// check.
uint64_t ticks_now();
double ticks_to_ns(uint64_t ticks);
uint64_t ns_to_ticks(double ns);

// Length of one window.
double window_seconds();

struct Times {
  static constexpr int kBins = 4 * 48;  // quarter octaves of ticks
  std::atomic<uint64_t> ticks{0};
  std::atomic<uint32_t> bins[kBins] = {};

  void add(uint64_t elapsed);
  void clear();
};

class TimesSum;

struct TimesSummary {
  uint64_t count = 0;
  double mean_ns = 0, p50_ns = 0, p99_ns = 0;  // percentiles are upper edges of bins, so at most 19% high
};

// The window that runs and the one before it. A call that lands while a window is begun anew may be lost from it.
class RecentTimes {
 public:
  void add(uint64_t elapsed, uint64_t now);
  TimesSummary summary(uint64_t now) const;
  void clear();

 private:
  friend TimesSum;
  struct Window {
    std::atomic<uint64_t> number{UINT64_MAX};
    Times times;
  };
  Window windows_[2];
};

// What several of them have seen together.
class TimesSum {
 public:
  void add(const RecentTimes &times, uint64_t now);
  TimesSummary summary() const;

 private:
  void add(const Times &times);
  double percentile_ns(double p) const;

  uint64_t count_ = 0, ticks_ = 0;
  uint64_t bins_[Times::kBins] = {};
};

}  // namespace opswap
