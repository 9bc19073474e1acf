// Codes that become other codes of the same numbers; nothing is rounded.
#pragma once

#include <cstdint>

#include "convert/tile.h"

namespace opswap::convert {

// Returns how many elements the new type cannot hold; the index of the first goes to `first`.
int64_t recode(Code code, const void *in, void *out, int64_t elements, int64_t &first);

}  // namespace opswap::convert
