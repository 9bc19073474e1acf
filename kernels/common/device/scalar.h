// Scalar types of device tensors, named as the CPU's, and their conversions: hardware's under nvcc, the emulator's
// under g++. To the nearest, ties to even; NaN stays NaN; the 8-bit types saturate.
#pragma once

#include "common/sm90/platform.h"
#ifdef OPSWAP_EMULATE
#include "emulator/convert.h"
#else
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

// Two at once, the first in the low byte.
OPSWAP_DEVICE uint16_t e4m3_pair(float low, float high) {
  return __nv_cvt_float2_to_fp8x2(make_float2(low, high), __NV_SATFINITE, __NV_E4M3);
}
template <class T>
OPSWAP_DEVICE uint32_t wide_pair(float low, float high) {
  if constexpr (std::is_same_v<T, bf16>) {
    const __nv_bfloat162 pair = __floats2bfloat162_rn(low, high);
    return uint32_t(__bfloat16_as_ushort(pair.x)) | uint32_t(__bfloat16_as_ushort(pair.y)) << 16;
  } else {
    const __half2 pair = __floats2half2_rn(low, high);
    return uint32_t(__half_as_ushort(pair.x)) | uint32_t(__half_as_ushort(pair.y)) << 16;
  }
}
OPSWAP_DEVICE float2 to_floats(uint16_t codes) {
  return __half22float2(__half2(__nv_cvt_fp8x2_to_halfraw2(codes, __NV_E4M3)));
}

#else

inline float to_float(bf16 x) { return emu::bf16_to_float(x.bits); }
inline float to_float(fp16 x) { return emu::fp16_to_float(x.bits); }
inline float to_float(e4m3 x) { return emu::e4m3_to_float(x.bits); }
inline float to_float(e5m2 x) { return emu::e5m2_to_float(x.bits); }
template <>
inline bf16 from_float<bf16>(float x) {
  return {emu::float_to_bf16(x)};
}
template <>
inline fp16 from_float<fp16>(float x) {
  return {emu::float_to_fp16(x)};
}
template <>
inline e4m3 from_float<e4m3>(float x) {
  return {emu::float_to_e4m3(x)};
}
template <>
inline e5m2 from_float<e5m2>(float x) {
  return {emu::float_to_e5m2(x)};
}
inline uint16_t e4m3_pair(float low, float high) {
  return uint16_t(emu::float_to_e4m3(low) | emu::float_to_e4m3(high) << 8);
}
template <class T>
inline uint32_t wide_pair(float low, float high) {
  return uint32_t(from_float<T>(low).bits) | uint32_t(from_float<T>(high).bits) << 16;
}
inline float2 to_floats(uint16_t codes) {
  return {emu::e4m3_to_float(uint8_t(codes)), emu::e4m3_to_float(uint8_t(codes >> 8))};
}

#endif

}  // namespace opswap
