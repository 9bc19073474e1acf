// float8_e4m3fn beside the other scalar types: nearest even, saturating, NaN stays NaN.
#pragma once

#include "common/vec.h"

namespace opswap::OPSWAP_ISA {

struct e4m3 {
  uint8_t bits;
};

template <>
inline e4m3 from_float<e4m3>(float x) {
  const uint32_t u = std::bit_cast<uint32_t>(x), sign = u >> 24 & 0x80, m = u & 0x7fffffff;
  if (m > 0x7f800000) return {uint8_t(sign | 0x7f)};
  if (m >= 0x43e00000) return {uint8_t(sign | 0x7e)};  // 448 and more
  // Below 2^-6 an addition of 2^14 rounds to the fixed step of 2^-9.
  if (m < 0x3c800000)
    return {uint8_t(sign | (std::bit_cast<uint32_t>(std::bit_cast<float>(m) + 0x1p14f) - 0x46800000))};
  return {uint8_t(sign | (((m + 0x7ffff + (m >> 20 & 1)) >> 20) - 960))};
}

typedef uint8_t vb __attribute__((vector_size(kLanes)));

// Lanes from 0 to 255 as bytes.
inline vb to_bytes(vi x) {
#if defined(__AVX512F__)
  return (vb)_mm512_cvtepi32_epi8((__m512i)x);
#elif defined(__AVX2__)
  const __m128i low = _mm256_castsi256_si128((__m256i)x), high = _mm256_extracti128_si256((__m256i)x, 1);
  const __m128i words = _mm_packus_epi32(low, high), bytes = _mm_packus_epi16(words, words);
  vb b;
  std::memcpy(&b, &bytes, sizeof b);
  return b;
#else
  return __builtin_convertvector((vu)x, vb);
#endif
}

// kLanes codes, each in its lane. Only with Any may x be NaN or round to more than 448. Adding 2^(e + 20), e the
// exponent of x and at least -6, rounds |x| to FP8's step and leaves it in the sum's low bits, counted in steps; 152
// makes up for both biases.
template <bool Any = true>
inline vi e4m3_lanes(vf x) {
  constexpr int kInfinity = 0x7f800000, kTop = 0x43e00000, kLeast = 121 << 23;  // 448 and 2^-6
  const vi u = (vi)x, all = u & 0x7fffffff, m = Any ? (all < kTop ? all : vi{} + kTop) : all;
  const vi exponent = m & kInfinity, power = (exponent > kLeast ? exponent : vi{} + kLeast) + (20 << 23 | 152);
  vi code = (vi)((vf)m + (vf)power) + (power >> 20);
  if constexpr (Any) code = all > kInfinity ? vi{} + 0x7f : code;
  return (code & 0x7f) | (u >> 24 & 0x80);
}
template <bool Any = true>
inline vb e4m3_codes(vf x) {
  return to_bytes(e4m3_lanes<Any>(x));
}

template <bool Any>
inline void store_e4m3(e4m3 *p, vf x) {
  const vb codes = e4m3_codes<Any>(x);
  std::memcpy(p, &codes, sizeof codes);
}
inline void store(e4m3 *p, vf x) { store_e4m3<true>(p, x); }
inline void store_tail(e4m3 *p, vf x, int64_t n) {
  const vb codes = e4m3_codes(x);
  std::memcpy(p, &codes, size_t(n));
}

}  // namespace opswap::OPSWAP_ISA
