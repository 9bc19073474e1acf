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

// kLanes codes. Only with Any may x be NaN or round to more than 448.
template <bool Any = true>
inline vb e4m3_codes(vf x) {
  const vi u = (vi)x, m = u & 0x7fffffff;
  const vi normal = (m + (0x7ffff - (960 << 20)) + (m >> 20 & 1)) >> 20, small = (vi)((vf)m + 0x1p14f) - 0x46800000;
  vi code = m < 0x3c800000 ? small : normal;
  if constexpr (Any) {
    code = m >= 0x43e00000 ? vi{} + 0x7e : code;
    code = m > 0x7f800000 ? vi{} + 0x7f : code;
  }
  return __builtin_convertvector((vu)(code | (u >> 24 & 0x80)), vb);
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
