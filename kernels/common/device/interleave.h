// Four bytes of four words turned, which is what values become when the keys of a feature are to stand side by side.
#pragma once

#include "common/device/vec.h"
#include "common/interleave.h"

namespace opswap {

// Bytes 0 to 3 of four words become word 0 to 3.
OPSWAP_DEVICE Vec<uint32_t, 4> transposed(const uint32_t (&w)[4]) {
  const uint32_t low[] = {__byte_perm(w[0], w[1], 0x5140), __byte_perm(w[2], w[3], 0x5140)};
  const uint32_t high[] = {__byte_perm(w[0], w[1], 0x7362), __byte_perm(w[2], w[3], 0x7362)};
  return {{__byte_perm(low[0], low[1], 0x5410), __byte_perm(low[0], low[1], 0x7632),
           __byte_perm(high[0], high[1], 0x5410), __byte_perm(high[0], high[1], 0x7632)}};
}

}  // namespace opswap
