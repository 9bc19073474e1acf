// FP8 quantisation of rows: scale = max(amax, floor) / 448, code = e4m3(x / scale), by true division.
// Magnitudes are compared as integers, where NaN is above infinity: a NaN makes the scale and the codes of its group
// NaN.
#pragma once

#include <algorithm>

#include "common/fp8.h"
#include "common/stream.h"

namespace opswap::OPSWAP_ISA {

constexpr int64_t kGroup = 128;
constexpr float kAmaxFloor = 1e-4f;  // of activations

inline uint32_t magnitude(float x) { return std::bit_cast<uint32_t>(x) & 0x7fffffff; }
inline vu larger(vu a, vu b) { return a > b ? a : b; }

// The scale of a group whose largest magnitude is `amax`.
inline float scale_of(uint32_t amax, float floor = kAmaxFloor) {
  return std::bit_cast<float>(std::max(amax, std::bit_cast<uint32_t>(floor))) / 448.0f;
}

template <int S = kLanes / 2>
inline uint32_t largest_lane(vu v) {
  if constexpr (S == 0)
    return v[0];
  else
    return largest_lane<S / 2>(larger(v, (vu)across<S>((vf)v, Lanes{})));
}

// Largest magnitude; types of 16 bits are first compared in their own bits, two to a lane.
template <class E>
inline uint32_t amax(const E *x, int64_t n) {
  vu most[2] = {};
  int64_t i = 0;
  if constexpr (sizeof(E) == 2) {
    typedef int16_t vs __attribute__((vector_size(kLanes * 4)));
    vs pairs = {};
    for (; i + 2 * kLanes <= n; i += 2 * kLanes) {
      vs v;
      std::memcpy(&v, x + i, sizeof v);
      v &= 0x7fff;
      pairs = v > pairs ? v : pairs;
    }
    E halves[2 * kLanes];
    std::memcpy(halves, &pairs, sizeof pairs);
    for (int k = 0; k < 2; ++k) most[k] = (vu)load(halves + k * kLanes);
  }
  for (; i + 2 * kLanes <= n; i += 2 * kLanes)
    for (int k = 0; k < 2; ++k) most[k] = larger(most[k], (vu)load(x + i + k * kLanes) & 0x7fffffff);
  for (; i + kLanes <= n; i += kLanes) most[0] = larger(most[0], (vu)load(x + i) & 0x7fffffff);
  if (i < n) most[1] = larger(most[1], (vu)load_tail(x + i, n - i) & 0x7fffffff);
  return largest_lane(larger(most[0], most[1]));
}

// Codes past the caches, kLanes at a time; half a register is no such store.
template <bool Any>
inline void store_e4m3(streamed<e4m3> *p, vf x) {
#if defined(__AVX512F__)
  _mm_stream_si128(reinterpret_cast<__m128i *>(p), (__m128i)e4m3_codes<Any>(x));
#else
  store_e4m3<Any>(&p->value, x);
#endif
}

template <bool Any, class Code, class E>
inline void store_quotients(Code *out, const E *x, int64_t n, float scale) {
  const vf s = splat(scale);
  for_lanes(
      n, [&](int64_t i) { store_e4m3<Any>(out + i, load(x + i) / s); },
      [&](int64_t i, int64_t left) { store_tail(out + i, load_tail(x + i, left) / s, left); });
}

#if defined(__AVX512F__)
inline void store_codes(e4m3 *p, __m512i codes) { _mm512_storeu_si512(p, codes); }
inline void store_codes(streamed<e4m3> *p, __m512i codes) {
  _mm512_stream_si512(reinterpret_cast<__m512i *>(p), codes);
}

// The same codes, without a division each, for as many whole vectors as there are; the number that are done.
template <class Code, class E>
inline int64_t store_quotients_at_once(Code *out, const E *x, int64_t n, float scale) {
  const Quotient quotient(scale);
  int64_t i = 0;
  for (; i + kCodesAtOnce <= n; i += kCodesAtOnce) store_codes(out + i, e4m3_codes_at_once(x + i, quotient));
  return i;
}
#else
template <class Code, class E>
inline int64_t store_quotients_at_once(Code *, const E *, int64_t, float) {
  return 0;
}
#endif

// A scale that was chosen for x leaves no quotient that is NaN or has to saturate; where it is far from the ends of
// the exponents, no product is subnormal that counts.
template <class Code, class E>
inline void quantize_span(Code *out, const E *x, int64_t n, float scale, bool given) {
  if (given || !(scale >= 0x1p-80f && scale <= 0x1p80f)) return store_quotients<true>(out, x, n, scale);
  const int64_t done = store_quotients_at_once(out, x, n, scale);
  store_quotients<false>(out + done, x + done, n - done, scale);
}

// How the scales of a call lie: row-major [row groups][column groups], or MN-major with the two exchanged.
struct Scales {
  float *data;
  int64_t row, column;  // strides in elements

  template <class Args>
  explicit Scales(const Args &a)
      : data(a.scale.template as<float>()),
        row(a.mn_major ? 1 : a.scale.stride[0]),
        column(a.mn_major ? a.scale.stride[0] : 1) {}
  float &at(int64_t r, int64_t c) const { return data[r * row + c * column]; }
};

// Asks for what a row that is read once needs next, so that it comes while codes are computed.
template <class Code, class E>
inline void prefetch_ahead(const E *x, int64_t n) {
  constexpr int64_t kAhead = 4096, kLine = 64;  // bytes
  if constexpr (!std::is_same_v<Code, e4m3>)
    for (int64_t i = 0; i < n * int64_t(sizeof(E)); i += kLine)
      __builtin_prefetch(reinterpret_cast<const char *>(x) + kAhead + i);
}

// Quantises row t of n features: one group when `group` is 0; with `given` the one scale of the tensor is read. The
// scales of a few groups come first, so that no group waits for the end of its own reduction.
template <class Code, class E>
inline void quantize_row(Code *out, const E *x, int64_t n, int64_t t, int64_t group, bool given, const Scales &scales,
                         float floor = kAmaxFloor) {
  constexpr int64_t kAtOnce = 16 / int64_t(sizeof(E));
  if (given) return quantize_span(out, x, n, scales.at(0, 0), true);
  const int64_t width = group ? group : std::max<int64_t>(n, 1), groups = group ? (n + group - 1) / group : 1;
  float some[kAtOnce];
  for (int64_t first = 0; first < groups; first += kAtOnce) {
    const int64_t end = std::min(first + kAtOnce, groups);
    for (int64_t g = first; g < end; ++g) {
      const int64_t begin = g * width;
      some[g - first] = scales.at(t, g) = scale_of(amax(x + begin, std::min(width, n - begin)), floor);
    }
    for (int64_t g = first; g < end; ++g) {
      const int64_t begin = g * width, own = std::min(width, n - begin);
      prefetch_ahead<Code>(x + begin, own);
      quantize_span(out + begin, x + begin, own, some[g - first], false);
    }
  }
}

// The same, one element at a time.
inline void quantize_row_plain(e4m3 *out, const float *x, int64_t n, int64_t t, int64_t group, bool given,
                               const Scales &scales) {
  const int64_t width = group && !given ? group : std::max<int64_t>(n, 1);
  for (int64_t begin = 0, g = 0; begin < std::max<int64_t>(n, group ? 0 : 1); begin += width, ++g) {
    const int64_t end = std::min(begin + width, n);
    uint32_t most = 0;
    for (int64_t i = begin; i < end; ++i) most = std::max(most, magnitude(x[i]));
    const float scale = given ? scales.at(0, 0) : scales.at(t, g) = scale_of(most);
    for (int64_t i = begin; i < end; ++i) out[i] = from_float<e4m3>(x[i] / scale);
  }
}

}  // namespace opswap::OPSWAP_ISA
