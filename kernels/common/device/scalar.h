// Scalar types of device tensors, named as the CPU's, and their conversions: hardware's under nvcc, by bits under g++.
// To the nearest, ties to even; NaN stays NaN; the 8-bit types saturate.
#pragma once

#include "common/sm90/platform.h"
#ifndef OPSWAP_EMULATE
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_fp8.h>
#endif

namespace opswap {

// clang-format off
struct bf16 { uint16_t bits; };
struct fp16 { uint16_t bits; };
struct e4m3 { uint8_t bits; };
struct e5m2 { uint8_t bits; };
// clang-format on

template <class T>
OPSWAP_DEVICE T from_float(float x);

OPSWAP_DEVICE float to_float(float x) { return x; }
template <>
OPSWAP_DEVICE float from_float<float>(float x) {
  return x;
}

#ifndef OPSWAP_EMULATE

OPSWAP_DEVICE float to_float(bf16 x) { return __bfloat162float(__ushort_as_bfloat16(x.bits)); }
OPSWAP_DEVICE float to_float(fp16 x) { return __half2float(__ushort_as_half(x.bits)); }
OPSWAP_DEVICE float to_float(e4m3 x) { return __half2float(__half(__nv_cvt_fp8_to_halfraw(x.bits, __NV_E4M3))); }
OPSWAP_DEVICE float to_float(e5m2 x) { return __half2float(__half(__nv_cvt_fp8_to_halfraw(x.bits, __NV_E5M2))); }
template <>
OPSWAP_DEVICE bf16 from_float<bf16>(float x) {
  return {__bfloat16_as_ushort(__float2bfloat16_rn(x))};
}
template <>
OPSWAP_DEVICE fp16 from_float<fp16>(float x) {
  return {__half_as_ushort(__float2half_rn(x))};
}
template <>
OPSWAP_DEVICE e4m3 from_float<e4m3>(float x) {
  return {__nv_cvt_float_to_fp8(x, __NV_SATFINITE, __NV_E4M3)};
}
template <>
OPSWAP_DEVICE e5m2 from_float<e5m2>(float x) {
  return {__nv_cvt_float_to_fp8(x, __NV_SATFINITE, __NV_E5M2)};
}

#else

namespace device {

// A binary float of `Mantissa` bits and this exponent bias; `infinities` is false where the top exponent holds numbers.
template <int Mantissa, int Bias, bool kInfinities>
float decode_float(uint32_t bits, int exponent_bits) {
  const uint32_t top = (1u << exponent_bits) - 1, mantissa = bits & ((1u << Mantissa) - 1);
  const uint32_t exponent = bits >> Mantissa & top;
  const float sign = bits >> (Mantissa + exponent_bits) & 1 ? -1.0f : 1.0f;
  if (kInfinities && exponent == top) return mantissa ? NAN : sign * INFINITY;
  if (!kInfinities && exponent == top && mantissa == (1u << Mantissa) - 1) return NAN;
  if (!exponent) return sign * std::ldexp(float(mantissa), 1 - Bias - Mantissa);
  return sign * std::ldexp(float(mantissa | 1u << Mantissa), int(exponent) - Bias - Mantissa);
}

// Magnitude bits of |x| rounded to the format; the carry into the exponent is the next number.
template <int Mantissa, int Bias>
uint32_t encode_magnitude(float x) {
  const float magnitude = std::fabs(x);
  const int exponent = magnitude == 0 ? 1 - Bias : std::max(std::ilogb(magnitude), 1 - Bias);
  const float scaled = std::ldexp(magnitude, Mantissa - exponent);  // the unit is the format's last place
  return (uint32_t(exponent + Bias - 1) << Mantissa) + uint32_t(std::nearbyint(scaled));
}

}  // namespace device

inline float to_float(bf16 x) { return std::bit_cast<float>(uint32_t(x.bits) << 16); }
inline float to_float(fp16 x) { return device::decode_float<10, 15, true>(x.bits, 5); }
inline float to_float(e4m3 x) { return device::decode_float<3, 7, false>(x.bits, 4); }
inline float to_float(e5m2 x) { return device::decode_float<2, 15, true>(x.bits, 5); }
template <>
inline bf16 from_float<bf16>(float x) {
  const uint32_t u = std::bit_cast<uint32_t>(x);
  if (std::isnan(x)) return {uint16_t(u >> 16 | 0x40)};
  return {uint16_t((u + 0x7fff + (u >> 16 & 1)) >> 16)};
}
template <>
inline fp16 from_float<fp16>(float x) {
  const uint16_t sign = std::signbit(x) ? 0x8000 : 0;
  if (std::isnan(x)) return {0x7fff};
  if (std::fabs(x) >= 65520.0f) return {uint16_t(sign | 0x7c00)};
  return {uint16_t(sign | device::encode_magnitude<10, 15>(x))};
}
template <>
inline e4m3 from_float<e4m3>(float x) {
  const uint8_t sign = std::signbit(x) ? 0x80 : 0;
  if (std::isnan(x)) return {0x7f};
  return {uint8_t(sign | (std::fabs(x) >= 448.0f ? 0x7e : device::encode_magnitude<3, 7>(x)))};
}
template <>
inline e5m2 from_float<e5m2>(float x) {
  const uint8_t sign = std::signbit(x) ? 0x80 : 0;
  if (std::isnan(x)) return {0x7f};
  return {uint8_t(sign | (std::fabs(x) >= 57344.0f ? 0x7b : device::encode_magnitude<2, 15>(x)))};
}

#endif

}  // namespace opswap
