// Powers of two and reciprocals by the special function unit: one instruction each, for what is rounded to fewer bits
// afterwards. Scales and codes divide instead: a last bit there moves a value to another code.
//
//   exp2_approx        2^x within 2 units in the last place; -inf gives 0, NaN stays
//   reciprocal_approx  1/x within 1 unit in the last place; 0 gives an infinity of its sign, and the other way round
//
// Subnormal arguments and results are zeros of their sign. The bounds are those of the CUDA programming guide for
// exp2f and for divisions of 1 without -prec-div. The emulated bodies use the bounds up: a result that is not exact is
// rounded to either side, so that a kernel that takes an approximation for the nearest float is found.
#pragma once

#include "common/sm90/platform.h"

namespace opswap::sm90 {

#ifdef OPSWAP_EMULATE

OPSWAP_DEVICE float exp2_approx(float x) { return emu::exp2_approx(x); }
OPSWAP_DEVICE float reciprocal_approx(float x) { return emu::reciprocal_approx(x); }

#else

OPSWAP_DEVICE float exp2_approx(float x) {
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}
OPSWAP_DEVICE float reciprocal_approx(float x) {
  float y;
  asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}

#endif

}  // namespace opswap::sm90
