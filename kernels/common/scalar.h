// Scalar types of tensors and their exact conversions; plain C++, used by `ref` and by the tails of SIMD loops.
#pragma once

#include <bit>
#include <cstdint>

#include "types.h"

namespace opswap::OPSWAP_ISA {

struct bf16 {
  uint16_t bits;
};
struct fp16 {
  uint16_t bits;
};

inline float to_float(float x) { return x; }
inline float to_float(bf16 x) { return std::bit_cast<float>(uint32_t(x.bits) << 16); }
inline float to_float(fp16 x) {
  const uint32_t sign = uint32_t(x.bits & 0x8000) << 16, rest = x.bits & 0x7fff;
  if (rest >= 0x7c00) return std::bit_cast<float>(sign | 0x7f800000 | (rest & 0x3ff) << 13);
  if (rest >= 0x0400) return std::bit_cast<float>(sign | ((rest << 13) + 0x38000000));
  const float magnitude = float(rest) * 0x1p-24f;  // subnormal: exact
  return sign ? -magnitude : magnitude;
}

// Round to nearest even; NaN stays NaN.
template <class T>
T from_float(float x);
template <>
inline float from_float<float>(float x) {
  return x;
}
template <>
inline bf16 from_float<bf16>(float x) {
  const uint32_t u = std::bit_cast<uint32_t>(x);
  if ((u & 0x7fffffff) > 0x7f800000) return {uint16_t(u >> 16 | 0x40)};
  return {uint16_t((u + 0x7fff + (u >> 16 & 1)) >> 16)};
}
template <>
inline fp16 from_float<fp16>(float x) {
  const uint32_t u = std::bit_cast<uint32_t>(x), sign = u >> 16 & 0x8000, magnitude = u & 0x7fffffff;
  if (magnitude > 0x7f800000) return {uint16_t(sign | 0x7e00)};
  if (magnitude >= 0x477ff000) return {uint16_t(sign | 0x7c00)};
  if (magnitude >= 0x38800000) {
    const uint32_t rounded = magnitude + 0xfff + (magnitude >> 13 & 1);
    return {uint16_t(sign | (rounded - 0x38000000) >> 13)};
  }
  // Adding 0.5 shifts a subnormal result into the low mantissa bits and rounds it there.
  const float shifted = std::bit_cast<float>(magnitude) + 0.5f;
  return {uint16_t(sign | (std::bit_cast<uint32_t>(shifted) & 0xffff))};
}

// Calls body(T{}) with the C++ type of a floating dtype.
template <class Body>
inline auto with_float_type(DType dtype, Body &&body) {
  switch (dtype) {
    case DType::bfloat16:
      return body(bf16{});
    case DType::float16:
      return body(fp16{});
    default:
      return body(float{});
  }
}

// Element i of an int32 or int64 tensor's row.
inline int64_t index_at(const Tensor &t, int64_t i) {
  return t.dtype == DType::int64 ? t.as<int64_t>()[i * t.stride[0]] : t.as<int32_t>()[i * t.stride[0]];
}

}  // namespace opswap::OPSWAP_ISA
