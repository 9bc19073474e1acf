// Groups of columns to four bits with a scale each: round to nearest, or the scale of the least squared error.
#pragma once

#include "convert/inspect.h"

namespace opswap::convert::OPSWAP_ISA {

constexpr int kGroup = 128;
constexpr int kVectors = kGroup / kLanes;
constexpr int kLargestInt4 = 7, kSmallestInt4 = -8;
constexpr float kDivisor = 7.5f;  // the middle between the two largest codes
// Clipped scales that are tried: that of amax times 0.5, 0.525, ... 1.1.
constexpr int kCandidates = 25;

typedef vf Columns[kVectors];  // of a group

// Nearest even. The sum with 1.5 * 2^23 has no bits below 1.
inline vf rounded(vf x) { return (x + 12582912.0f) - 12582912.0f; }
inline vf to_int4(vf y) { return min(max(rounded(y), splat(kSmallestInt4)), splat(kLargestInt4)); }
inline float to_bf16(float x) { return to_float(from_float<bf16>(x)); }

// importance is of each column, or nullptr where all count the same.
template <bool weighted>
inline double squared_error(const Columns &x, const float *importance, float scale) {
  const float inverse = 1.0f / scale;  // for the search; codes are made by a true division
  vf noise[kParts]{};
#pragma GCC unroll 32
  for (int i = 0; i < kVectors; ++i) {
    const vf y = x[i] * inverse, error = to_int4(y) - y;
    if constexpr (weighted)
      noise[i % kParts] += load(importance + i * kLanes) * (error * error);
    else
      noise[i % kParts] += error * error;
  }
  return double(folded(noise)) * scale * scale;
}

template <bool weighted>
inline float clipped_scale(const Columns &x, const float *importance, float amax) {
  float best = 0;
  double least = 0;
  for (int i = 0; i < kCandidates; ++i) {
    const float scale = to_bf16(amax / (40 * kDivisor / float(20 + i)));
    const double error = squared_error<weighted>(x, importance, scale);
    if (i > 0 && error >= least) continue;
    best = scale;
    least = error;
  }
  return best;
}

inline float scale_of(const Scheme &scheme, const Columns &x, const float *importance, float amax) {
  const float floored = amax > kSmallestAmax ? amax : kSmallestAmax;
  if (scheme.clipped && scheme.weighted) return clipped_scale<true>(x, importance, floored);
  if (scheme.clipped) return clipped_scale<false>(x, nullptr, floored);
  return to_bf16(floored / kDivisor);
}

template <class E>
inline void load_group(const E *p, Columns &x) {
#pragma GCC unroll 32
  for (int i = 0; i < kVectors; ++i) x[i] = load(p + i * kLanes);
}

inline float group_amax(const Columns &x) {
  vf top = abs(x[0]);
#pragma GCC unroll 32
  for (int i = 1; i < kVectors; ++i) top = max(top, abs(x[i]));
  return max_lane(top);
}

inline bool all_finite(const Columns &x) {
  vi top{};
  for (const vf &one : x) top = magnitude(one) > top ? magnitude(one) : top;
  for (int lane = 0; lane < kLanes; ++lane)
    if (top[lane] >= kInfinity) return false;
  return true;
}

// Writes a group's codes; adds errors in units of the scale to noise, signal and worst, and counts to the rest.
inline void encode_group(const Columns &x, uint8_t *out, float scale, uint8_t flip, Sums &sums, Sums &own) {
  uint8_t codes[kGroup];
#pragma GCC unroll 32
  for (int i = 0; i < kVectors; ++i) {
    const int part = i % kParts;
    const vf y = x[i] / scale, q = to_int4(y), error = abs(y - q);
    const vi code = __builtin_convertvector(q, vi);
    const vb bytes = to_bytes(code & 15);
    std::memcpy(codes + i * kLanes, &bytes, sizeof bytes);
    own.signal[part] += y * y;
    own.noise[part] += error * error;
    own.worst[part] = max(own.worst[part], error);
    sums.zeros[part] -= magnitude(x[i]) == 0;
    sums.empty[part] -= code == 0;
    sums.limit[part] -= (code == kLargestInt4) | (code == kSmallestInt4);
  }
  for (int i = 0; i < kGroup / 2; ++i) out[i] = uint8_t((codes[2 * i] | codes[2 * i + 1] << 4) ^ flip);
}

// What a group's codes cost where columns differ in importance.
inline double weighted_error(const Columns &x, const float *importance, float scale) {
  vf noise[kParts]{};
#pragma GCC unroll 32
  for (int i = 0; i < kVectors; ++i) {
    const vf y = x[i] / scale, error = to_int4(y) - y;
    noise[i % kParts] += load(importance + i * kLanes) * (error * error);
  }
  return double(folded(noise)) * scale * scale;
}

template <class E>
void quantize_int4(const Tile &tile, const Scheme &scheme, const Output &out, const E *in, Stats &stats,
                   Nonfinites &found) {
  const uint8_t flip = scheme.code == Code::int4_offset ? 0x88 : 0;
  bool inspected = false;
  for (int64_t r = 0; r < tile.rows; ++r) {
    Sums sums;
    for (int64_t c = 0; c < tile.columns; c += kGroup) {
      const int64_t at = r * tile.columns + c;
      Columns x;
      load_group(in + at, x);
      if (!inspected && !all_finite(x)) {
        inspect(tile, found);
        inspected = true;
        if (tile.policy == Nonfinite::refuse) return;
        load_group(in + at, x);
      }
      const float *importance = out.importance == nullptr ? nullptr : out.importance + c;
      const float amax = group_amax(x), scale = scale_of(scheme, x, importance, amax);
      out.scales[r * out.across + c / kGroup] = scale;
      Sums own;
      encode_group(x, out.codes + at / 2, scale, flip, sums, own);
      stats.signal += double(folded(own.signal)) * scale * scale;
      stats.noise += double(folded(own.noise)) * scale * scale;
      note_scale(stats, scale, double(most(own.worst)) * scale);
      stats.zero_blocks += amax == 0;
      if (importance != nullptr) stats.weighted += weighted_error(x, importance, scale);
    }
    count(stats, sums, tile.columns);
  }
}

}  // namespace opswap::convert::OPSWAP_ISA
