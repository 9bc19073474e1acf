// What the special function unit may answer: a float beside the exact value, above or below by the argument's bits.
#pragma once

#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>

namespace opswap::emu {

inline float flushed(float x) { return std::fabs(x) < std::numeric_limits<float>::min() ? std::copysign(0.0f, x) : x; }

inline float beside(double exact, float argument) {
  const auto near = float(exact);
  if (double(near) == exact || !std::isfinite(near)) return flushed(near);
  const bool up = std::bit_cast<uint32_t>(argument) * 0x9e3779b1u >> 31;
  if (up == (double(near) > exact)) return flushed(near);
  return flushed(std::nextafter(near, up ? HUGE_VALF : -HUGE_VALF));
}

inline float exp2_approx(float x) { return beside(std::exp2(double(flushed(x))), x); }
inline float reciprocal_approx(float x) { return beside(1 / double(flushed(x)), x); }

}  // namespace opswap::emu
