// Four floats as a word of e4m3 codes, the first in its lowest byte: nearest even, saturating, NaN stays NaN. Written
// so that the second pair's conversion puts the word together itself, which bytes or halves of a word do not get.
#pragma once

#include "common/sm90/platform.h"

#ifdef OPSWAP_EMULATE
#include "emulator/convert.h"
#endif

namespace opswap::sm90 {

#ifdef OPSWAP_EMULATE

OPSWAP_DEVICE uint32_t e4m3_word(float a, float b, float c, float d) {
  return uint32_t(emu::float_to_e4m3(a)) | uint32_t(emu::float_to_e4m3(b)) << 8 |
         uint32_t(emu::float_to_e4m3(c)) << 16 | uint32_t(emu::float_to_e4m3(d)) << 24;
}

#else

OPSWAP_DEVICE uint32_t e4m3_word(float a, float b, float c, float d) {
  uint32_t word;
  asm("{\n.reg .b16 low, high;\n"
      "cvt.rn.satfinite.e4m3x2.f32 low, %2, %1;\n"
      "cvt.rn.satfinite.e4m3x2.f32 high, %4, %3;\n"
      "mov.b32 %0, {low, high};\n}"
      : "=r"(word)
      : "f"(a), "f"(b), "f"(c), "f"(d));
  return word;
}

#endif

}  // namespace opswap::sm90
