// One thread of a warp, for what one thread issues. The compiler knows that there is one, where it does not know it of
// `threadIdx.x == 0`.
#pragma once

#include "common/sm90/platform.h"

namespace opswap::sm90 {

#ifdef OPSWAP_EMULATE

OPSWAP_DEVICE bool elect_one() { return emu::elect_one(); }

#else

// By all 32 threads of a warp, converged; true for one of them, the same each time. It need not be lane 0.
OPSWAP_DEVICE bool elect_one() {
  uint32_t elected;
  asm volatile("{\n\t.reg .pred p;\n\telect.sync _|p, 0xffffffff;\n\tselp.u32 %0, 1, 0, p;\n\t}" : "=r"(elected));
  return elected;
}

#endif

}  // namespace opswap::sm90
