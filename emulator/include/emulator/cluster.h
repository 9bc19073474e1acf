// Clusters as the wrappers call them. A pointer into a peer's shared memory comes with the peer's rank.
#pragma once

#include "emulator/device.h"

namespace opswap::emu {

void cluster_arrive();
void cluster_wait();
void *map_shared(const void *p, uint32_t rank);  // the same place in the shared memory of block `rank`
void access_cluster(const void *p, uint32_t bytes, uint32_t rank, Access kind);
void cluster_mbarrier_arrive(uint64_t *barrier, uint32_t rank, uint32_t expected_bytes);
bool cluster_mbarrier_test(uint64_t *barrier, uint32_t parity);  // these two see what peers did before arriving
void cluster_mbarrier_wait(uint64_t *barrier, uint32_t parity);
void cluster_copy(void *to, const void *smem, uint32_t bytes, uint64_t *barrier, uint32_t rank);

}  // namespace opswap::emu
