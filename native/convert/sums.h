// What blocks add up, lane by lane: sums run over 16 lanes in one order, so that every instruction set gets the same.
#pragma once

#include "common/fp8.h"
#include "convert/tile.h"

namespace opswap::convert::OPSWAP_ISA {

using namespace opswap::OPSWAP_ISA;

constexpr int kSums = 16;
constexpr int kParts = kSums / kLanes;
constexpr int32_t kInfinity = 0x7f800000;

inline vi magnitude(vf x) { return (vi)x & 0x7fffffff; }

// In units of the scale.
struct Sums {
  vf signal[kParts]{}, noise[kParts]{}, worst[kParts]{};
  vi zeros[kParts]{}, empty[kParts]{}, limit[kParts]{};
};

template <class V, class T>
T total(const V (&parts)[kParts]) {
  T all{};
  for (const V &part : parts)
    for (int lane = 0; lane < kLanes; ++lane) all += T(part[lane]);
  return all;
}

// The 16 lanes added in halves.
inline float folded(const vf (&parts)[kParts]) {
  if constexpr (kParts == 4) return sum((parts[0] + parts[2]) + (parts[1] + parts[3]));
  if constexpr (kParts == 2) return sum(parts[0] + parts[1]);
  return sum(parts[0]);
}

inline float most(const vf (&parts)[kParts]) {
  float all = 0;
  for (const vf &part : parts) all = max_lane(part) > all ? max_lane(part) : all;
  return all;
}

inline void count(Stats &stats, const Sums &sums, int64_t elements) {
  const int64_t zeros = total<vi, int64_t>(sums.zeros);
  stats.elements += elements;
  stats.zeros += zeros;
  stats.flushed += total<vi, int64_t>(sums.empty) - zeros;
  stats.at_limit += total<vi, int64_t>(sums.limit);
}

inline void note_scale(Stats &stats, double scale, double error) {
  const bool first = stats.largest_scale == 0;
  stats.largest_error = error > stats.largest_error ? error : stats.largest_error;
  stats.smallest_scale = first || scale < stats.smallest_scale ? scale : stats.smallest_scale;
  stats.largest_scale = scale > stats.largest_scale ? scale : stats.largest_scale;
}

}  // namespace opswap::convert::OPSWAP_ISA
