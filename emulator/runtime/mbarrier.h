// mbarrier as asynchronous units use it: they complete bytes and arrive, also from another block.
#pragma once

#include <cstdint>

namespace opswap::emu {

void mbarrier_check(uint64_t *barrier);  // fails unless it is initialised
void mbarrier_complete(uint64_t *barrier, uint32_t bytes);
void mbarrier_arrive_async(uint64_t *barrier);
void mbarrier_arrive_cluster(uint64_t *barrier, uint32_t expected_bytes);

}  // namespace opswap::emu
