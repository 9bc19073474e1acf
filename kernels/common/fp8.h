// float8_e4m3fn beside the other scalar types: nearest even, saturating, NaN stays NaN.
#pragma once

#include <array>

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

#if defined(__AVX512F__)
constexpr int64_t kCodesAtOnce = 64;

// x / scale for normal 1 / scale, by two products: `low` is what rounding took from `high`. The result is on the same
// side of every number where codes change, or on it, as the rounded quotient is: so it is for all 2^23 significands of
// a scale and all floats beside such numbers, tried one by one; by `high` alone 5% of them are not.
struct Quotient {
  vf high, low;
  explicit Quotient(float scale) {
    const float inverse = 1.0f / scale;
    high = splat(inverse), low = splat(__builtin_fmaf(-inverse, scale, 1.0f) / scale);
  }
  vf operator()(vf x) const {
    return (vf)_mm512_fmadd_ps((__m512)x, (__m512)high, _mm512_mul_ps((__m512)x, (__m512)low));
  }
};

// For x from 2^-7 to 2^9, by the low four bits of its exponent: the sum with x has x's code in its low bits, rounded.
// It is e4m3_lanes' power with both biases in it.
alignas(64) constexpr auto kCodePowers = [] {
  std::array<int32_t, 16> powers{};
  for (int exponent = 120; exponent < 136; ++exponent) {
    const int least = exponent > 121 ? exponent : 121;
    powers[size_t(exponent % 16)] = (least + 20) << 23 | (least - 121) << 3;
  }
  return powers;
}();

// The low code of each lane of x >= 0, which rounds to at most 448.
inline vi e4m3_magnitudes(vf x) {
  const vi bits = (vi)x, least = vi{} + (120 << 23), exponent = (bits > least ? bits : least) >> 23;
  const __m512i powers = _mm512_load_si512(kCodePowers.data());
  return (vi)(x + (vf)_mm512_permutexvar_epi32((__m512i)exponent, powers)) & 0x7f;
}

// The lanes of four vectors as bytes, saturated; quarters of the vectors alternate.
inline __m512i bytes_of_four(const vi x[4]) {
  return _mm512_packs_epi16(_mm512_packs_epi32((__m512i)x[0], (__m512i)x[1]),
                            _mm512_packs_epi32((__m512i)x[2], (__m512i)x[3]));
}

// Codes of kCodesAtOnce quotients. A float's bits, saturated to a byte, keep their sign.
template <class E>
inline __m512i e4m3_codes_at_once(const E *x, const Quotient &quotient) {
  vi signs[4], magnitudes[4];
  for (int k = 0; k < 4; ++k) {
    const vf v = load(x + k * kLanes);
    signs[k] = (vi)v;
    magnitudes[k] = e4m3_magnitudes(quotient(abs(v)));
  }
  constexpr int kSelect = 0xd8;  // of three bits: the second where the third is set, else the first
  const __m512i codes =
      _mm512_ternarylogic_epi32(bytes_of_four(signs), bytes_of_four(magnitudes), _mm512_set1_epi8(0x7f), kSelect);
  const __m512i order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
  return _mm512_permutexvar_epi32(order, codes);
}
#else
constexpr int64_t kCodesAtOnce = kLanes;
#endif

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
