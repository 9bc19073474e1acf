// What asynchronous units do to an mbarrier.
#pragma once

#include <cstdint>

namespace opswap::emu {

void mbarrier_complete(uint64_t *barrier, uint32_t bytes);

}  // namespace opswap::emu
