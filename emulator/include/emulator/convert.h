// What the device's conversion instructions do, bit for bit.
#pragma once

#include <bit>
#include <cmath>
#include <cstdint>

namespace opswap::emu {

inline float bf16_to_float(uint16_t x) { return std::bit_cast<float>(uint32_t(x) << 16); }

inline uint16_t float_to_bf16(float x) {
  const uint32_t u = std::bit_cast<uint32_t>(x);
  if ((u & 0x7fffffff) > 0x7f800000) return 0x7fff;
  return uint16_t((u + 0x7fff + (u >> 16 & 1)) >> 16);
}

// A small float of `Mantissa` bits and exponent bias `Bias`; the largest finite code is `Max`.
template <int Mantissa, int Bias>
inline float small_to_float(uint32_t sign, uint32_t magnitude) {
  const uint32_t exponent = magnitude >> Mantissa;
  float value;
  if (exponent)
    value = std::bit_cast<float>((magnitude << (23 - Mantissa)) + ((127u - Bias) << 23));
  else  // subnormal: an exact product
    value = float(magnitude) * std::bit_cast<float>(uint32_t(127 + 1 - Bias - Mantissa) << 23);
  return sign ? -value : value;
}

// Magnitude rounded to nearest even; may exceed the largest finite code by one, which the caller judges.
template <int Mantissa, int Bias>
inline uint32_t round_to_small(uint32_t magnitude) {
  constexpr uint32_t kDrop = 23 - Mantissa, kSmallestNormal = (128u - Bias) << 23;
  if (magnitude >= kSmallestNormal) {
    const uint32_t rounded = magnitude + (1u << (kDrop - 1)) - 1 + (magnitude >> kDrop & 1);
    return (rounded - ((127u - Bias) << 23)) >> kDrop;
  }
  // Adding a power of two shifts a subnormal result into the low mantissa bits and rounds it there.
  const float magic = std::bit_cast<float>(uint32_t(127 + 1 - Bias - Mantissa + 23) << 23);
  return std::bit_cast<uint32_t>(std::bit_cast<float>(magnitude) + magic) - std::bit_cast<uint32_t>(magic);
}

inline float fp16_to_float(uint16_t x) {
  const uint32_t magnitude = x & 0x7fff;
  if (magnitude >= 0x7c00)
    return std::bit_cast<float>(uint32_t(x & 0x8000) << 16 | 0x7f800000 | (magnitude & 0x3ff) << 13);
  return small_to_float<10, 15>(x >> 15, magnitude);
}
inline uint16_t float_to_fp16(float x) {
  const uint32_t u = std::bit_cast<uint32_t>(x), sign = u >> 16 & 0x8000, magnitude = u & 0x7fffffff;
  if (magnitude > 0x7f800000) return 0x7fff;
  if (magnitude >= 0x477ff000) return uint16_t(sign | 0x7c00);
  return uint16_t(sign | round_to_small<10, 15>(magnitude));
}

inline float e4m3_to_float(uint8_t x) {
  if ((x & 0x7f) == 0x7f) return std::bit_cast<float>(0x7fffffffu);
  return small_to_float<3, 7>(x >> 7, x & 0x7f);
}
inline uint8_t float_to_e4m3(float x) {
  const uint32_t u = std::bit_cast<uint32_t>(x), sign = u >> 24 & 0x80, magnitude = u & 0x7fffffff;
  if (magnitude > 0x7f800000) return 0x7f;
  if (magnitude >= 0x43e00000) return uint8_t(sign | 0x7e);  // from 448 on
  return uint8_t(sign | round_to_small<3, 7>(magnitude));
}

inline float e5m2_to_float(uint8_t x) {
  const uint32_t magnitude = x & 0x7f;
  if (magnitude > 0x7c) return std::bit_cast<float>(0x7fffffffu);
  if (magnitude == 0x7c) return x >> 7 ? -INFINITY : INFINITY;
  return small_to_float<2, 15>(x >> 7, magnitude);
}
inline uint8_t float_to_e5m2(float x) {
  const uint32_t u = std::bit_cast<uint32_t>(x), sign = u >> 24 & 0x80, magnitude = u & 0x7fffffff;
  if (magnitude > 0x7f800000) return 0x7f;
  if (magnitude >= 0x47600000) return uint8_t(sign | 0x7b);  // from 57344 on
  return uint8_t(sign | round_to_small<2, 15>(magnitude));
}

}  // namespace opswap::emu
