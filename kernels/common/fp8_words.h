// e4m3 on its way into the matrix loops: codes become words (words.h), exactly; their scales are applied to sums. NaN
// stays NaN, and subnormal codes are values like any other.
#pragma once

#include "common/fp8.h"
#include "common/words.h"

namespace opswap::OPSWAP_ISA {

constexpr int64_t kBlock = 128;  // elements of a row that are summed before a scale is applied

inline float to_float(e4m3 x) {
  const uint32_t m = x.bits & 0x7f, sign = uint32_t(x.bits & 0x80) << 24;
  if (m == 0x7f) return __builtin_nanf("");
  const float value = m < 8 ? float(m) * 0x1p-9f : std::bit_cast<float>((m << 20) + (120u << 23));
  return std::bit_cast<float>(std::bit_cast<uint32_t>(value) | sign);
}

inline vf load(const e4m3 *p) {
#if defined(__AVX512F__) || defined(__F16C__)
  // Shifted by 7 a code has its fields where fp16 has them, subnormals too, and is 2^-8 times its value.
  typedef int16_t halves __attribute__((vector_size(kLanes * 2)));
#if defined(__AVX512F__)
  const halves wide = (halves)_mm256_cvtepi8_epi16(_mm_loadu_si128(reinterpret_cast<const __m128i *>(p)));
#else
  const halves wide = (halves)_mm_cvtepi8_epi16(_mm_loadl_epi64(reinterpret_cast<const __m128i *>(p)));
#endif
  const halves shifted = (wide << 7) & int16_t(0xbfff), nan = (shifted & 0x3f80) == 0x3f80;
  fp16 bits[kLanes];
  const halves all = shifted | (nan & 0x7fff);
  std::memcpy(bits, &all, sizeof bits);
  return load(static_cast<const fp16 *>(bits)) * 256.0f;
#else
  vb codes;
  std::memcpy(&codes, p, sizeof codes);
  const vi u = __builtin_convertvector(codes, vi), m = u & 0x7f;
  const vi normal = (m << 20) + (120 << 23), small = (vi)(__builtin_convertvector(m, vf) * 0x1p-9f);
  const vi value = m < 8 ? small : normal;
  return (vf)((m == 0x7f ? vi{} + 0x7fc00000 : value) | (u & 0x80) << 24);
#endif
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
#endif

// The first n < kLanes codes; the other lanes are 0 and are not touched in memory.
inline vf load_tail(const e4m3 *p, int64_t n) {
  e4m3 part[kLanes] = {};
  std::memcpy(part, p, size_t(n));
  return load(part);
}

// kLanes words of codes, as load_words (words.h) has them of other types.
template <class Math>
inline vu load_words(const e4m3 *p) {
#if defined(__AVX512F__)
  if constexpr (Math::kPerWord == 2) return pairs_of<true>(_mm256_loadu_si256(reinterpret_cast<const __m256i *>(p)));
#endif
  return (vu)load(p);
}
template <class Math>
inline vu load_words(const e4m3 *p, int64_t n) {
  if (n >= kLanes * Math::kPerWord) return load_words<Math>(p);
  e4m3 part[kLanes * Math::kPerWord] = {};
  std::memcpy(part, p, size_t(n));
  return load_words<Math>(static_cast<const e4m3 *>(part));
}

#if defined(__AVX512F__)
// Word l has the codes a[l] and b[l], for the first n lanes.
inline vu pairs_across(const e4m3 *a, const e4m3 *b, int64_t n = kLanes) {
  const __mmask16 mask = __mmask16((1u << n) - 1);
  const __m128i low = _mm_maskz_loadu_epi8(mask, a), high = _mm_maskz_loadu_epi8(mask, b);
  return pairs_of<true>(_mm256_set_m128i(_mm_unpackhi_epi8(low, high), _mm_unpacklo_epi8(low, high)));
}
#endif

// Whether all codes of a block are from 0x08 to 0x7e, whatever their sign: neither NaN nor zero nor subnormal.
inline bool all_normal(const e4m3 *block) {
  typedef uint8_t bytes __attribute__((vector_size(kLanes * 4)));
  bytes most = {};
  for (int64_t i = 0; i < kBlock; i += kLanes * 4) {
    bytes codes;
    std::memcpy(&codes, block + i, sizeof codes);
    const bytes above = (codes & 0x7f) - 8;
    most = most > above ? most : above;
  }
#if defined(__AVX512F__)
  return _mm512_cmpgt_epu8_mask((__m512i)most, _mm512_set1_epi8(0x76)) == 0;
#elif defined(__AVX2__)
  const __m256i limit = _mm256_set1_epi8(0x76),
                within = _mm256_cmpeq_epi8(_mm256_max_epu8((__m256i)most, limit), limit);
  return _mm256_movemask_epi8(within) == -1;
#else
  bool normal = true;
  for (int i = 0; i < kLanes * 4; ++i) normal &= most[i] <= 0x76;
  return normal;
#endif
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
