// Reads one stored element (FP8 of every kind, bf16, fp16, double) as float32.
#pragma once

#include "common/fp8.h"
#include "convert/tile.h"

namespace opswap::convert::OPSWAP_ISA {

using namespace opswap::OPSWAP_ISA;

template <class T>
inline T read(const uint8_t *p) {
  T value;
  std::memcpy(&value, p, sizeof value);
  return value;
}

struct e5m2 {
  uint8_t bits;
};
struct e4m3fnuz {
  uint8_t bits;
};
struct e5m2fnuz {
  uint8_t bits;
};
struct e8m0 {
  uint8_t bits;
};

// A sign and a magnitude whose exponent and mantissa are in float32's places but for the bias.
inline float value_of(uint8_t bits, uint32_t magnitude, float bias, bool nan) {
  const float finite = std::bit_cast<float>(magnitude) * bias;
  const uint32_t sign = uint32_t(bits & 0x80) << 24;
  return std::bit_cast<float>((nan ? 0x7fc00000u : std::bit_cast<uint32_t>(finite)) | sign);
}

// e5m2's bits are the upper half of an fp16.
inline float value(e4m3 x) {
  const uint32_t size = x.bits & 0x7f;
  return value_of(x.bits, size << 20, 0x1p120f, size == 0x7f);
}
inline float value(e5m2 x) { return to_float(fp16{uint16_t(x.bits << 8)}); }
// Those with one zero have NaN in the other's place, no infinity, and an exponent one lower.
inline float value(e4m3fnuz x) { return value_of(x.bits, uint32_t(x.bits & 0x7f) << 20, 0x1p119f, x.bits == 0x80); }
inline float value(e5m2fnuz x) { return value_of(x.bits, uint32_t(x.bits & 0x7f) << 21, 0x1p111f, x.bits == 0x80); }
// Only an exponent; its least is subnormal in float32.
inline float value(e8m0 x) {
  return std::bit_cast<float>(x.bits == 0xff ? 0x7fc00000u : x.bits == 0 ? 0x00400000u : uint32_t(x.bits) << 23);
}
inline float value(double x) { return float(x); }
inline float value(bf16 x) { return to_float(x); }
inline float value(fp16 x) { return to_float(x); }
inline float value(float x) { return x; }
inline float value(int8_t x) { return float(x); }
inline float value(uint8_t x) { return float(x); }

}  // namespace opswap::convert::OPSWAP_ISA
