// e4m3 on its way into the matrix loops: codes become words (words.h), exactly; their scales are applied to sums. NaN
// stays NaN, and subnormal codes are values like any other. Rows are words by blocks of 128, filled up with zeros.
#pragma once

#include "common/fp8.h"
#include "common/words.h"

namespace opswap::OPSWAP_ISA {

constexpr int64_t kBlock = 128;  // elements of a row that are summed before a scale is applied
template <class Math>
constexpr int kBlockVectors = int(kBlock) / (kLanes * Math::kPerWord);

inline float to_float(e4m3 x) {
  const uint32_t m = x.bits & 0x7f, sign = uint32_t(x.bits & 0x80) << 24;
  if (m == 0x7f) return __builtin_nanf("");
  const float value = m < 8 ? float(m) * 0x1p-9f : std::bit_cast<float>((m << 20) + (120u << 23));
  return std::bit_cast<float>(std::bit_cast<uint32_t>(value) | sign);
}

inline vf load(const e4m3 *p) {
  vb codes;
  std::memcpy(&codes, p, sizeof codes);
#if defined(__AVX512F__)
  const vi u = (vi)_mm512_cvtepu8_epi32((__m128i)codes);
#else
  const vi u = __builtin_convertvector(codes, vi);
#endif
  const vi m = u & 0x7f;
  const vi normal = (m << 20) + (120 << 23), small = (vi)(__builtin_convertvector(m, vf) * 0x1p-9f);
  const vi value = m < 8 ? small : normal;
  return (vf)((m == 0x7f ? vi{} + 0x7fc00000 : value) | (u & 0x80) << 24);
}

#if defined(__AVX512F__)
// 32 codes as bf16. Shifted by 4 a code has its fields where bf16 has them, with an exponent that is 120 too small.
// Only with Any may there be NaN, zero or a subnormal code.
template <bool Any>
inline vu pairs_of(__m256i codes) {
  const __m512i wide = _mm512_cvtepi8_epi16(codes), magnitude = _mm512_slli_epi16(wide, 4) & _mm512_set1_epi16(0x7f0);
  __m512i value = _mm512_add_epi16(magnitude, _mm512_set1_epi16(120 << 7));
  if constexpr (Any) {
    const __mmask32 small = _mm512_testn_epi16_mask(wide, _mm512_set1_epi16(0x78));
    const __mmask32 nan = _mm512_cmpeq_epi16_mask(magnitude, _mm512_set1_epi16(0x7f0));
    // Code m < 8 is m * 2^-9: the words 0 to 7 of this table, repeated.
    const __m512i table =
        _mm512_broadcast_i32x4(_mm_setr_epi16(0, 0x3b00, 0x3b80, 0x3bc0, 0x3c00, 0x3c20, 0x3c40, 0x3c60));
    value = _mm512_mask_permutexvar_epi16(value, small, wide & _mm512_set1_epi16(7), table);
    value = _mm512_mask_mov_epi16(value, nan, _mm512_set1_epi16(0x7fc0));
  }
  constexpr int kSelect = 0xf8;  // a | (b & c)
  return (vu)_mm512_ternarylogic_epi32(value, wide, _mm512_set1_epi16(int16_t(0x8000)), kSelect);
}
inline bool all_normal(__m512i codes) {
  const __m512i above = _mm512_sub_epi8(codes & _mm512_set1_epi8(0x7f), _mm512_set1_epi8(8));
  return _mm512_cmplt_epu8_mask(above, _mm512_set1_epi8(0x77)) == ~__mmask64{};
}
#endif

// A whole block of a row.
template <class Math>
inline void decode_block(vu words[], const e4m3 *p) {
#if defined(__AVX512F__)
  if constexpr (Math::kPerWord == 2) {
    for (int half = 0; half < 2; ++half, words += 2, p += 64) {
      const __m512i codes = _mm512_loadu_si512(p);
      const __m256i low = _mm512_castsi512_si256(codes), high = _mm512_extracti64x4_epi64(codes, 1);
      if (all_normal(codes)) [[likely]] {
        words[0] = pairs_of<false>(low);
        words[1] = pairs_of<false>(high);
      } else {
        words[0] = pairs_of<true>(low);
        words[1] = pairs_of<true>(high);
      }
    }
    return;
  }
#endif
#pragma GCC unroll 8
  for (int v = 0; v < kBlockVectors<Math>; ++v) words[v] = (vu)load(p + v * kLanes);
}

// The n codes that a row has left, then zeros.
template <class Math>
inline void decode_block(vu words[], const e4m3 *p, int64_t n) {
  if (n >= kBlock) return decode_block<Math>(words, p);
  e4m3 padded[kBlock] = {};
  std::memcpy(padded, p, size_t(n));
  decode_block<Math>(words, padded);
}

// The n elements of 16 or 32 bits that a row has left of a block, then zeros.
template <class Math, class T>
inline void decode_block(vu words[], const T *p, int64_t n) {
  constexpr int64_t kStep = kLanes * Math::kPerWord;
  for (int v = 0; v < kBlockVectors<Math>; ++v, p += kStep, n -= kStep)
    words[v] = n > 0 ? load_words<Math>(p, n) : vu{};
}

constexpr int64_t whole_blocks(int64_t k) { return round_up(k, kBlock); }

// to[0..whole_blocks(n)) = x in words, filled up with zeros.
template <class Math, class X>
inline void widen_row(uint32_t *to, const X *x, int64_t n) {
  constexpr int64_t kWords = kBlock / Math::kPerWord;
  for (int64_t i = 0; i < n; i += kBlock, to += kWords) {
    vu words[kBlockVectors<Math>];
    decode_block<Math>(words, x + i, n - i);
    std::memcpy(to, words, sizeof words);
  }
}

// Calls body(X{}) with the type of values of 16 bits, or of codes.
template <class Body>
inline auto with_half_or_code(DType dtype, Body &&body) {
  switch (dtype) {
    case DType::bfloat16:
      return body(bf16{});
    case DType::float16:
      return body(fp16{});
    default:
      return body(e4m3{});
  }
}

// Calls body(Math{}) for such values times codes. bf16 holds every code, so pairs of it serve codes as well; fp16
// needs float32.
template <class X, class Body>
inline auto with_code_math(Body &&body) {
#if defined(__AVX512F__)
  if constexpr (!std::is_same_v<X, fp16>)
    if (bf16_usable()) return body(Bf16Pairs{});
#endif
  return body(Floats{});
}

}  // namespace opswap::OPSWAP_ISA
