// The vec layer on a CPU: kLanes floats at a time, typed loads and stores, the few functions that kernels need.
// Written with the compiler's vector extensions, so that one source serves every instruction set of a pass.
#pragma once

#include <cstring>
#include <type_traits>
#include <utility>

#include "common/scalar.h"

#if defined(__F16C__) || defined(__AVX512F__)
#include <immintrin.h>
#endif

namespace opswap::OPSWAP_ISA {

#if defined(__AVX512F__)
constexpr int kLanes = 16;
#elif defined(__AVX2__)
constexpr int kLanes = 8;
#else
constexpr int kLanes = 4;
#endif

typedef float vf __attribute__((vector_size(kLanes * 4)));
typedef int32_t vi __attribute__((vector_size(kLanes * 4)));
typedef uint32_t vu __attribute__((vector_size(kLanes * 4)));
typedef uint16_t vh __attribute__((vector_size(kLanes * 2)));

inline vf splat(float x) { return x - vf{}; }
inline vf min(vf a, vf b) { return a < b ? a : b; }
inline vf max(vf a, vf b) { return a > b ? a : b; }
inline vf abs(vf a) { return (vf)((vi)a & 0x7fffffff); }

// Loads kLanes elements as float32. Without the intrinsics GCC 12 widens 16 bits in two halves and joins them.
inline vf load(const float *p) {
  vf v;
  std::memcpy(&v, p, sizeof v);
  return v;
}
inline vf load(const bf16 *p) {
#if defined(__AVX512F__)
  return (vf)((vu)_mm512_cvtepu16_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i *>(p))) << 16);
#elif defined(__AVX2__)
  return (vf)((vu)_mm256_cvtepu16_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i *>(p))) << 16);
#else
  vh h;
  std::memcpy(&h, p, sizeof h);
  return (vf)(__builtin_convertvector(h, vu) << 16);
#endif
}
inline vf load(const fp16 *p) {
#if defined(__AVX512F__)
  return (vf)_mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i *>(p)));
#elif defined(__F16C__)
  return (vf)_mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i *>(p)));
#else
  vf v;
  for (int i = 0; i < kLanes; ++i) v[i] = to_float(p[i]);
  return v;
#endif
}

// Stores kLanes elements, rounded to nearest even.
inline void store(float *p, vf v) { std::memcpy(p, &v, sizeof v); }
inline void store(bf16 *p, vf v) {
  const vu u = (vu)v, rounded = u + 0x7fff + (u >> 16 & 1);
  const vh h = __builtin_convertvector((v == v ? rounded : u | 0x400000) >> 16, vh);
  std::memcpy(p, &h, sizeof h);
}
#if defined(__AVX512F__)
// The same 16 bits, on a CPU that rounds to them by itself (subnormals become 0); only where bf16_usable().
struct bf16_native : bf16 {};
template <>
inline bf16_native from_float<bf16_native>(float x) {
  return {from_float<bf16>(x)};
}
inline bool bf16_usable() {
  static const bool usable = __builtin_cpu_supports("avx512bf16");
  return usable;
}
inline void store(bf16_native *p, vf v) {
  const __m256bh h = _mm512_cvtneps_pbh((__m512)v);
  std::memcpy(p, &h, sizeof h);
}
#endif
inline void store(fp16 *p, vf v) {
#if defined(__AVX512F__)
  _mm256_storeu_si256(reinterpret_cast<__m256i *>(p), _mm512_cvtps_ph((__m512)v, _MM_FROUND_TO_NEAREST_INT));
#elif defined(__F16C__)
  _mm_storeu_si128(reinterpret_cast<__m128i *>(p), _mm256_cvtps_ph((__m256)v, _MM_FROUND_TO_NEAREST_INT));
#else
  for (int i = 0; i < kLanes; ++i) p[i] = from_float<fp16>(v[i]);
#endif
}

// The first n < kLanes elements; the other lanes are `fill` and are not touched in memory.
#if defined(__AVX512F__)
inline vf load_tail(const float *p, int64_t n, float fill = 0.0f) {
  return (vf)_mm512_mask_loadu_ps((__m512)splat(fill), __mmask16((1u << n) - 1), p);
}
template <class T>
inline vf load_tail(const T *p, int64_t n, float fill = 0.0f) {
  T part[kLanes];
  const __mmask16 mask = __mmask16((1u << n) - 1);
  _mm256_storeu_si256(reinterpret_cast<__m256i *>(part), _mm256_maskz_loadu_epi16(mask, p));
  return (vf)_mm512_mask_mov_ps((__m512)splat(fill), mask, (__m512)load(part));
}
inline void store_tail(float *p, vf v, int64_t n) { _mm512_mask_storeu_ps(p, __mmask16((1u << n) - 1), (__m512)v); }
template <class T>
inline void store_tail(T *p, vf v, int64_t n) {
  T part[kLanes];
  store(part, v);
  _mm256_mask_storeu_epi16(p, __mmask16((1u << n) - 1), _mm256_loadu_si256(reinterpret_cast<const __m256i *>(part)));
}
#else
template <class T>
inline vf load_tail(const T *p, int64_t n, float fill = 0.0f) {
  vf v = splat(fill);
  for (int64_t i = 0; i < n; ++i) v[i] = to_float(p[i]);
  return v;
}
template <class T>
inline void store_tail(T *p, vf v, int64_t n) {
  for (int64_t i = 0; i < n; ++i) p[i] = from_float<T>(v[i]);
}
#endif

// Lane i of the result is lane i ^ S: halves that are combined log2(kLanes) times reduce a vector.
using Lanes = std::make_integer_sequence<int, kLanes>;
template <int S, int... L>
inline vf across(vf v, std::integer_sequence<int, L...>) {
  return __builtin_shuffle(v, vi{(L ^ S)...});
}
template <int... L>
inline vi lane_numbers(std::integer_sequence<int, L...>) {
  return vi{L...};
}
inline vi lane_numbers() { return lane_numbers(Lanes{}); }
template <int S = kLanes / 2>
inline float sum(vf v) {
  if constexpr (S == 0)
    return v[0];
  else
    return sum<S / 2>(v + across<S>(v, Lanes{}));
}
template <int S = kLanes / 2>
inline float max_lane(vf v) {
  if constexpr (S == 0)
    return v[0];
  else
    return max_lane<S / 2>(max(v, across<S>(v, Lanes{})));
}

// e^x, within 2 ulp; 0 for very negative x, inf above 88.7, NaN stays NaN. Cody-Waite reduction, degree-6 polynomial.
inline vf exp_poly(vf r) {
  vf p = splat(1.0f / 720);
  for (float c : {1.0f / 120, 1.0f / 24, 1.0f / 6, 0.5f, 1.0f, 1.0f}) p = p * r + c;
  return p;
}
#if defined(__AVX512F__)
inline vf exp(vf x) {
  // The operand order of min and max lets NaN through; scalef rounds to subnormals and overflows to inf by itself.
  const __m512 clamped = _mm512_max_ps(_mm512_set1_ps(-104.0f), _mm512_min_ps(_mm512_set1_ps(89.0f), (__m512)x));
  const vf n = (vf)_mm512_roundscale_ps(clamped * 1.44269504f, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
  const vf r = ((vf)clamped - n * 0.693145752f) - n * 1.42860677e-6f;
  return (vf)_mm512_scalef_ps((__m512)exp_poly(r), (__m512)n);
}
#else
inline vf exp(vf x) {
  const vf clamped = min(max(x, splat(-87.33654f)), splat(88.72283f));
  const vf magic = splat(0x1.8p23f), n = (clamped * 1.44269504f + magic) - magic;
  const vf y = exp_poly((clamped - n * 0.693145752f) - n * 1.42860677e-6f);
  // 2^n in two factors, so that n = 128 does not overflow on its own.
  const vi whole = __builtin_convertvector(n, vi), half = whole >> 1;
  const vf scaled = y * (vf)((half + 127) << 23) * (vf)((whole - half + 127) << 23);
  const vf low = x < -87.33654f ? vf{} : scaled, high = x > 88.72283f ? splat(__builtin_inff()) : low;
  return x == x ? high : x;
}
#endif

// ln(x) for normal x > 0, within 3 ulp. Mantissa in [sqrt(1/2), sqrt(2)), atanh series.
inline vf log(vf x) {
  const vi bits = (vi)x, e = (bits - 0x3f3504f3) >> 23;
  const vf m = (vf)(bits - (e << 23)), f = (m - 1.0f) / (m + 1.0f), s = f * f;
  vf p = splat(1.0f / 11);
  for (float c : {1.0f / 9, 1.0f / 7, 1.0f / 5, 1.0f / 3}) p = p * s + c;
  const vf n = __builtin_convertvector(e, vf);
  return n * 0.693145752f + (n * 1.42860677e-6f + 2.0f * (f + f * s * p));
}

// tanh(x), within 4 ulp away from 0; odd series below 0.1 where 1 - 2/(e^2x + 1) would cancel.
inline vf tanh(vf x) {
  const vf a = abs(x), s = x * x;
  const vf small = x * (1.0f + s * (-1.0f / 3 + s * (2.0f / 15 + s * (-17.0f / 315 + s * (62.0f / 2835)))));
  const vf big = 1.0f - 2.0f / (exp(2.0f * a) + 1.0f);
  return a < 0.1f ? small : (x < 0.0f ? -big : big);
}

// 1 / x for normal x and normal 1 / x, within 2 ulp: an estimate and a Newton step cost less than a division.
inline vf inverse(vf x) {
#if defined(__AVX512F__)
  const vf y = (vf)_mm512_rcp14_ps((__m512)x);
  return y * (2.0f - x * y);
#elif defined(__AVX2__)
  const vf y = (vf)_mm256_rcp_ps((__m256)x);
  return y * (2.0f - x * y);
#else
  return 1.0f / x;
#endif
}

// 2^t, within 8e-8 relative where the reduction of t to t - round(t) is exact: above all for |t| that is small.
inline vf exp2(vf t) {
#if defined(__AVX512F__)
  const vf n = (vf)_mm512_roundscale_ps((__m512)t, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC), r = t - n;
  vf p = splat(0x1.5c08e4p-10f);  // 2^r on [-1/2, 1/2], minimax
  for (float c : {0x1.3d0c54p-7f, 0x1.c6b6e4p-5f, 0x1.ebf918p-3f, 0x1.62e428p-1f, 1.0f}) p = p * r + c;
  return (vf)_mm512_scalef_ps((__m512)p, (__m512)n);
#else
  return exp(t * 0.693147181f);
#endif
}

// 1 / (1 + e^-x), within 1e-6 relative where it is above 1e-4, absolute below, and 0 below -87, so that -inf times it
// is NaN as in torch. An error in e^-x = 2^t counts only where |x| is small.
inline vf sigmoid(vf x) {
#if defined(__AVX512F__)
  const vf y = inverse(1.0f + exp2((vf)_mm512_max_ps(_mm512_set1_ps(-120.0f), (__m512)(x * -1.44269504f))));
#else
  const vf y = inverse(1.0f + exp(-x));
#endif
  return x < -87.0f ? vf{} : y;
}

// Calls body(T{}) with the type that the vector loops of a floating dtype are written in.
template <class Body>
inline auto with_vector_type(DType dtype, Body &&body) {
#if defined(__AVX512F__)
  if (dtype == DType::bfloat16 && bf16_usable()) return body(bf16_native{});
#endif
  return with_float_type(dtype, body);
}

}  // namespace opswap::OPSWAP_ISA
